"""What the engine needs of the settings, and which model serves."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Literal

import msgspec

from tradebot.events.base import Mode

REFERENCES = ("BTCUSDT", "ETHUSDT")
"""Symbols whose closes are features of other symbols."""


class RiskLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Limits every order must respect. Notional in USDT at mark; fractions are of equity; durations in ms.

    ``max_account_age_ms`` None: the account is not looked at by the clock, so its age says nothing. ``capital`` (USDT)
    stands for equity wherever that is larger. ``docs/risk.md`` says what each limit does.
    """

    max_position_notional: Decimal = Decimal(2_000)
    max_gross_notional: Decimal = Decimal(5_000)
    max_leverage: Decimal = Decimal(3)
    max_daily_loss: Decimal = Decimal("0.03")
    max_book_age_ms: int = 10_000
    max_candle_age_ms: int = 30_000
    max_clock_offset_ms: int = 1_000
    max_account_age_ms: int | None = None
    cooldown_ms: int = 600_000
    stop_distance: Decimal = Decimal("0.02")
    stop_confirm_ms: int = 5_000
    capital: Decimal | None = None
    max_margin_use: Decimal = Decimal("0.8")
    min_liquidation_distance: Decimal = Decimal("0.03")
    max_correlated_notional: Decimal = Decimal(4_000)
    correlated_from: float = 0.7
    correlation_candles: int = 288
    max_entries_per_minute: int = 30
    max_entries_per_hour: int = 200
    max_open_orders: int = 40
    max_mark_deviation: Decimal = Decimal("0.01")
    max_spread_bp: float = 20.0
    depth_within_bp: float = 20.0
    max_depth_share: Decimal = Decimal("0.5")
    max_drawdown: Decimal = Decimal("0.2")
    max_losses_in_a_row: int | None = 20
    max_model_loss: Decimal = Decimal("0.1")
    close_worst: bool = False
    funding_window_ms: int = 300_000
    delisting_close_ms: int = 21_600_000


class EngineConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What the engine needs of the settings. ``strategy_params`` (what JSON can say) are validated by the strategy.

    ``models``: names of the models asked at each close of their candles, in the order in which the strategy sees their
    forecasts (see ``model_name``); (): whichever serve. ``references``: symbols whose candles are heard beside those of
    ``symbols``, because their closes are features.
    """

    mode: Mode
    symbols: tuple[str, ...]
    strategy: str
    strategy_params: dict[str, Any] = {}
    models: tuple[str, ...] = ()
    references: tuple[str, ...] = ()
    interval: str = "5m"
    leverage: int = 2
    margin_mode: Literal["isolated", "crossed"] = "isolated"
    order_notional: Decimal = Decimal(500)
    forecast_deadline_ms: int = 2_000
    shard: int = 0
    risk: RiskLimits = RiskLimits()


class ModelRef(msgspec.Struct, frozen=True, kw_only=True):
    """The exact model that serves a symbol. ``horizon_ms`` is the forecast's reach from the candle's close.

    ``name`` tells it from others of the symbol: its family, with the interval where that is not the decisions' own.

    ``entry_bp`` is the |expected return| (bp) above which acting was best on the validation slice, or None.
    ``provisional``: it has not beaten the baseline net of costs and may serve in demo and paper only.
    ``view`` names the features it looks at, made of closed candles of ``interval``; it sees the last ``steps`` rows.
    """

    symbol: str
    name: str
    version: str
    sha256: str
    schema_hash: str
    horizon_ms: int
    provisional: bool = False
    entry_bp: float | None = None
    view: str = "candles-5m"
    interval: str = "5m"
    steps: int = 1
