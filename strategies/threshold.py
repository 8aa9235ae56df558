"""Act on the forecast's expected return when it is large enough; leave after the horizon or on reversal."""

from __future__ import annotations

from collections import deque
from math import inf

import msgspec

from tradebot.events import ForecastReady
from tradebot.trading.strategy import Intent, Strategy, View

REMEMBERED = 288
ENOUGH = 100


class ThresholdParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Entry levels in bp of expected return (null: the level chosen on the model's validation slice).

    ``entry_rank``: act also on forecasts whose size is above this share of the symbol's last 288 (one day of 5-minute
    candles), even below the levels; null: never. ``min_p``: least probability of the predicted direction.
    ``hold_horizons``: holding time, in forecast horizons. ``keep_confirmed``: hold on while the forecast would enter
    again; ``exit_on_reversal``: leave early when it would enter the other way. Both are off, because the gate judged
    the model on holding for exactly one horizon. ``cover_cost``: enter only when the expected return also exceeds the
    taker cost of both sides.
    """

    entry_long_bp: float | None = None
    entry_short_bp: float | None = None
    entry_rank: float | None = None
    min_p: float = 0.0
    hold_horizons: float = 1.0
    keep_confirmed: bool = False
    exit_on_reversal: bool = False
    cover_cost: bool = False

    def __post_init__(self) -> None:
        for name in ("entry_long_bp", "entry_short_bp"):
            level = getattr(self, name)
            if level is not None and not level > 0:
                raise ValueError(f"{name} must be positive, got {level}")
        if self.entry_rank is not None and not 0 < self.entry_rank < 1:
            raise ValueError(f"entry_rank must lie in (0, 1), got {self.entry_rank}")
        if not 0 <= self.min_p <= 1:
            raise ValueError(f"min_p must lie in [0, 1], got {self.min_p}")
        if not self.hold_horizons > 0:
            raise ValueError(f"hold_horizons must be positive, got {self.hold_horizons}")


class Threshold(Strategy):
    """One position per symbol, entered on the expected return of the next horizon."""

    Params = ThresholdParams
    params: ThresholdParams

    def __init__(self, params: ThresholdParams) -> None:
        super().__init__(params)
        self._sizes: dict[str, deque[float]] = {}

    def on_forecast(self, view: View, forecast: ForecastReady) -> Intent:
        learned = view.model.entry_bp if view.model and view.model.entry_bp is not None else inf
        long_level = self.params.entry_long_bp if self.params.entry_long_bp is not None else learned
        short_level = self.params.entry_short_bp if self.params.entry_short_bp is not None else learned
        ranked = self._ranked_level(forecast)
        long_level, short_level = min(long_level, ranked), min(short_level, ranked)
        if self.params.cover_cost:
            long_level, short_level = max(long_level, view.taker_cost_bp), max(short_level, view.taker_cost_bp)
        expected = forecast.expected_bp
        wants_long = expected >= long_level and forecast.p_up >= self.params.min_p
        wants_short = expected <= -short_level and forecast.p_down >= self.params.min_p

        side = view.holding.side
        if side == "flat":
            cost = "" if abs(expected) > view.taker_cost_bp else f", below the cost of {view.taker_cost_bp:.2f}"
            if wants_long:
                return Intent("enter_long", f"expected {expected:+.2f} bp >= {long_level:.2f}{cost}")
            if wants_short:
                return Intent("enter_short", f"expected {expected:+.2f} bp <= -{short_level:.2f}{cost}")
            return Intent("hold", f"expected {expected:+.2f} bp within (-{short_level:.2f}, {long_level:.2f})")
        turned = wants_short if side == "long" else wants_long
        if turned and self.params.exit_on_reversal:
            return Intent("exit", f"forecast turned: expected {expected:+.2f} bp")
        confirmed = self.params.keep_confirmed and (wants_long if side == "long" else wants_short)
        if self._is_over(view, forecast.horizon_ms) and not confirmed:
            return Intent("exit", f"held {view.holding.candles} candles, horizon over")
        return Intent("hold", f"holding {side}, expected {expected:+.2f} bp")

    def _ranked_level(self, forecast: ForecastReady) -> float:
        """The size that ``entry_rank`` of the day's forecasts before this one did not reach; then remember this one."""
        if self.params.entry_rank is None:
            return inf
        sizes = self._sizes.setdefault(forecast.symbol, deque(maxlen=REMEMBERED))
        level = sorted(sizes)[int(self.params.entry_rank * len(sizes))] if len(sizes) >= ENOUGH else inf
        sizes.append(abs(forecast.expected_bp))
        return level

    def on_candle(self, view: View) -> Intent:
        if view.holding.side != "flat" and self._is_over(view, view.model.horizon_ms if view.model else 0):
            return Intent("exit", f"held {view.holding.candles} candles and no forecast confirms it")
        return Intent("hold", "no forecast")

    def _is_over(self, view: View, horizon_ms: int) -> bool:
        """Counted in candles: an entry acts a moment after the close that decided it, and leaves at a close."""
        return view.holding.candles * view.interval_ms >= self.params.hold_horizons * horizon_ms
