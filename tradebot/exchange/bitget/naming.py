"""This project's names and Bitget's (protocol sections 6.5, 9 and 10.4)."""

from __future__ import annotations

from tradebot.errors import ConfigError
from tradebot.market.candle import DAY_MS, INTERVAL_MS

PRODUCT_TYPE = "USDT-FUTURES"
MARGIN_COIN = "USDT"

MARKET = "/api/v2/mix/market/"
ACCOUNT = "/api/v2/mix/account/"
POSITION = "/api/v2/mix/position/"
ORDER = "/api/v2/mix/order/"

PUBLIC_PATH = "/v2/ws/public"
PRIVATE_PATH = "/v2/ws/private"

GRANULARITY: dict[str, str] = {
    "1m": "1m",
    "3m": "3m",
    "5m": "5m",
    "15m": "15m",
    "30m": "30m",
    "1h": "1H",
    "2h": "2H",
    "4h": "4H",
    "6h": "6Hutc",
    "12h": "12Hutc",
    "1d": "1Dutc",
    "1w": "1Wutc",
}
"""Candle lengths. Without ``utc`` the exchange aligns six hours and longer to UTC+8."""

INTERVAL = {name: interval for interval, name in GRANULARITY.items()}

RECENT_MS: dict[str, int] = {
    "1h": 60 * DAY_MS,
    "2h": 120 * DAY_MS,
    "4h": 240 * DAY_MS,
    "6h": 360 * DAY_MS,
    "12h": 360 * DAY_MS,
    "1d": 360 * DAY_MS,
    "1w": 360 * DAY_MS,
}
"""How far back the ``candles`` endpoint certainly reaches; 30 days for the intervals not listed."""

PLAN_TYPE = {
    "pl": "normal_plan",
    "tp": "profit_plan",
    "sl": "loss_plan",
    "ptp": "pos_profit",
    "psl": "pos_loss",
    "track": "track_plan",
    "mtpsl": "moving_plan",
}
"""Abbreviations of the ``orders-algo`` channel."""


def granularity(interval: str) -> str:
    """Bitget's name of an interval. Raises ConfigError for one it does not serve.

    >>> granularity("1h"), granularity("6h")
    ('1H', '6Hutc')
    """
    name = GRANULARITY.get(interval)
    if name is None:
        raise ConfigError(f"unknown candle interval {interval!r}; use one of {', '.join(INTERVAL_MS)}")
    return name


def endpoint(url: str, path: str) -> str:
    """A WebSocket endpoint from its base or from itself.

    >>> endpoint("wss://ws.bitget.com/", PUBLIC_PATH) == endpoint("wss://ws.bitget.com/v2/ws/public", PUBLIC_PATH)
    True
    """
    base = url.rstrip("/")
    return base if base.endswith(path) else base + path
