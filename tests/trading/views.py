"""Views and forecasts for what needs no engine."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from tests.trading.driver import BAR, MONDAY
from tradebot.events import ForecastReady, ModelRef
from tradebot.features.catalogue import NAMES
from tradebot.trading.strategy import Holding, Market, View


def a_view(
    *,
    qty: str = "0",
    candles: int = 0,
    held_ms: int | None = None,
    gain: float = 0.0,
    best: float = 0.0,
    worst: float = 0.0,
    horizon_ms: int | None = 2 * BAR,
    features: Mapping[str, float] | None = None,
) -> View:
    """A market at 100 USDT; ``qty`` and the gains in bp are the position's; features not given are not known."""
    model = ModelRef(
        symbol="SOLUSDT", name="m", version="v0001", sha256="ab", schema_hash="cd", horizon_ms=horizon_ms or 0
    )
    row = None if features is None else tuple(features.get(name, float("nan")) for name in NAMES)
    return View(
        now_ms=MONDAY,
        interval_ms=BAR,
        market=Market("SOLUSDT", 99.99, 100.01, 100.0, 0),
        holding=Holding(
            Decimal(qty), Decimal(100), candles * BAR if held_ms is None else held_ms, candles, gain, best, worst
        ),
        taker_cost_bp=14.0,
        maker_cost_bp=4.0,
        models={"m": model} if horizon_ms is not None else {},
        features=row,
    )


def a_forecast(
    *, expected_bp: float = 0.0, p_up: float = 0.4, p_down: float = 0.3, horizon_ms: int = 2 * BAR
) -> ForecastReady:
    return ForecastReady(
        request_id="1", symbol="SOLUSDT", model="m", version="v0001", model_sha256="ab", as_of_ms=MONDAY,
        horizon_ms=horizon_ms, row_hash="ef", expected_bp=expected_bp, p_up=p_up, p_down=p_down,
    )  # fmt: skip
