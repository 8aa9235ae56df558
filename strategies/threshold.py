"""Act on the forecast's expected return when it is large enough; leave after the horizon."""

from __future__ import annotations

from collections import deque
from math import inf
from typing import Annotated

import msgspec

from tradebot.events import ForecastReady
from tradebot.trading.exits import Exit, TimeExit, Wanted, first, protected
from tradebot.trading.sizing import Fixed, Sizing, prospect, sized
from tradebot.trading.strategy import Intent, Strategy, View

REMEMBERED = 288
ENOUGH = 100


class ThresholdParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When to enter, how much, and when to leave.

    ``entry_long_bp``: expected return from which it enters long, bp; null: the level chosen on the model's validation
    slice. ``entry_short_bp``: the same for short, without its sign.
    ``entry_rank``: act also on forecasts whose size is above this share of the symbol's last 288 (one day of 5-minute
    candles), even below the levels; null: never. ``min_p``: least probability of the predicted direction.
    ``cover_cost``: enter only when the expected return also exceeds the taker cost of both sides.
    ``exits``: ways out; one horizon, because the gate judged the model on holding for exactly that.
    ``size``: how much of the configured order.
    """

    entry_long_bp: Annotated[float, msgspec.Meta(gt=0)] | None = None
    entry_short_bp: Annotated[float, msgspec.Meta(gt=0)] | None = None
    entry_rank: Annotated[float, msgspec.Meta(gt=0, lt=1)] | None = None
    min_p: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.0
    cover_cost: bool = False
    exits: tuple[Exit, ...] = (TimeExit(horizons=1.0),)
    size: Sizing = Fixed()


class Threshold(Strategy):
    """One position per symbol, entered on the expected return of the next horizon."""

    Params = ThresholdParams
    params: ThresholdParams

    def __init__(self, params: ThresholdParams) -> None:
        super().__init__(params)
        self._sizes: dict[str, deque[float]] = {}

    def on_forecast(self, view: View, forecast: ForecastReady) -> Intent:
        long_level, short_level = self._levels(view, forecast)
        expected = forecast.expected_bp
        wanted: Wanted = "flat"
        if expected >= long_level and forecast.p_up >= self.params.min_p:
            wanted = "long"
        elif expected <= -short_level and forecast.p_down >= self.params.min_p:
            wanted = "short"

        if view.holding.side != "flat":
            due = first(self.params.exits, view, wanted)
            held = Intent("hold", f"holding {view.holding.side}, expected {expected:+.2f} bp")
            return held if due is None else Intent("exit", due)
        cost = "" if abs(expected) > view.taker_cost_bp else f", below the cost of {view.taker_cost_bp:.2f}"
        if wanted == "long":
            entry = Intent("enter_long", f"expected {expected:+.2f} bp >= {long_level:.2f}{cost}")
        elif wanted == "short":
            entry = Intent("enter_short", f"expected {expected:+.2f} bp <= -{short_level:.2f}{cost}")
        else:
            return Intent("hold", f"expected {expected:+.2f} bp within (-{short_level:.2f}, {long_level:.2f})")
        share = self.params.size.share(prospect(view, forecast, wanted, view.taker_cost_bp))
        return protected(sized(entry, share), self.params.exits, view)

    def on_candle(self, view: View) -> Intent:
        due = first(self.params.exits, view)
        return Intent("hold", "no forecast") if due is None else Intent("exit", due)

    def _levels(self, view: View, forecast: ForecastReady) -> tuple[float, float]:
        """The expected returns (bp) from which it enters long and short."""
        learned = view.model.entry_bp if view.model and view.model.entry_bp is not None else inf
        given = (self.params.entry_long_bp, self.params.entry_short_bp)
        ranked = self._ranked_level(forecast)
        floor = view.taker_cost_bp if self.params.cover_cost else 0.0
        long, short = (max(min(learned if level is None else level, ranked), floor) for level in given)
        return long, short

    def _ranked_level(self, forecast: ForecastReady) -> float:
        """The size that ``entry_rank`` of the day's forecasts before this one did not reach; then remember this one."""
        if self.params.entry_rank is None:
            return inf
        sizes = self._sizes.setdefault(forecast.symbol, deque(maxlen=REMEMBERED))
        level = sorted(sizes)[int(self.params.entry_rank * len(sizes))] if len(sizes) >= ENOUGH else inf
        sizes.append(abs(forecast.expected_bp))
        return level
