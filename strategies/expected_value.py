"""Enter when what a trade is worth exceeds what it costs."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from tradebot.events import ForecastReady
from tradebot.trading.exits import Exit, TimeExit, Wanted, first, protected
from tradebot.trading.sizing import Fixed, Sizing, prospect, sized
from tradebot.trading.strategy import Intent, Strategy, View


class ExpectedValueParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the expected return comes from, and what it must exceed.

    ``source``: model: the forecast's own. classes: the probabilities times the mean moves of the classes. quantiles:
    the mean of the forecast's quantiles. ``up_bp``: mean move of the class up, bp; needed for classes.
    ``down_bp``: the same of the class down, without its sign. ``flat_bp``: mean move of the neutral class.
    ``margin_bp``: how far it must exceed the cost. ``order``: market pays fees and spread of both sides; maker counts
    with the makers' fees and rests at the touch. ``wait_s``: for so long. ``fallback``: what becomes of an entry that
    was not filled then; at market it pays more than was counted on.
    ``exits``: ways out, at market. ``size``: how much of the configured order.
    """

    source: Literal["model", "classes", "quantiles"] = "model"
    up_bp: Annotated[float, msgspec.Meta(gt=0)] | None = None
    down_bp: Annotated[float, msgspec.Meta(gt=0)] | None = None
    flat_bp: float = 0.0
    margin_bp: Annotated[float, msgspec.Meta(ge=0)] = 1.0
    order: Literal["market", "maker"] = "market"
    wait_s: Annotated[float, msgspec.Meta(ge=0.1, le=86_400)] = 20.0
    fallback: Literal["market", "cancel"] = "cancel"
    exits: tuple[Exit, ...] = (TimeExit(horizons=1.0),)
    size: Sizing = Fixed()

    def __post_init__(self) -> None:
        for name in ("up_bp", "down_bp"):
            if self.source == "classes" and getattr(self, name) is None:
                raise ValueError(f"{name} is needed for the source 'classes': the mean move of that class, bp")


class ExpectedValue(Strategy):
    """One position per symbol, entered when its expected return net of costs is worth the risk."""

    Params = ExpectedValueParams
    params: ExpectedValueParams

    def on_forecast(self, view: View, forecast: ForecastReady) -> Intent:
        expected = self._expected_bp(forecast)
        if expected is None:
            due = first(self.params.exits, view)
            return Intent("hold", "the model gives no quantiles") if due is None else Intent("exit", due)
        cost = view.taker_cost_bp if self.params.order == "market" else view.maker_cost_bp
        net = abs(expected) - cost
        wanted: Wanted = "flat"
        if net > self.params.margin_bp:
            wanted = "long" if expected > 0 else "short"
        reason = f"expected {expected:+.2f} bp at a cost of {cost:.2f}, margin {self.params.margin_bp:.2f}"
        if view.holding.side != "flat":
            due = first(self.params.exits, view, wanted)
            return Intent("hold", reason) if due is None else Intent("exit", due)
        if wanted == "flat":
            return Intent("hold", reason)
        entry = Intent(
            "enter_long" if wanted == "long" else "enter_short",
            reason,
            order=self.params.order,
            wait_ms=round(1e3 * self.params.wait_s),
            fallback=self.params.fallback,
        )
        seen = prospect(view, msgspec.structs.replace(forecast, expected_bp=expected), wanted, cost)
        return protected(sized(entry, self.params.size.share(seen)), self.params.exits, view)

    def on_candle(self, view: View) -> Intent:
        due = first(self.params.exits, view)
        return Intent("hold", "no forecast") if due is None else Intent("exit", due)

    def _expected_bp(self, forecast: ForecastReady) -> float | None:
        if self.params.source == "classes":
            neither = max(0.0, 1 - forecast.p_up - forecast.p_down)
            up, down = self.params.up_bp or 0.0, self.params.down_bp or 0.0
            return forecast.p_up * up - forecast.p_down * down + neither * self.params.flat_bp
        if self.params.source == "quantiles":
            return mean_of_quantiles(forecast.quantiles_bp)
        return forecast.expected_bp


def mean_of_quantiles(quantiles: tuple[tuple[float, float], ...]) -> float | None:
    """Mean of a distribution known by (level, value) pairs; None without any.

    The quantile function is drawn straight between the levels and level outside of them, so tails count no more than
    the outermost quantiles. Values that cross are sorted (Chernozhukov, Fernández-Val & Galichon 2010).

    >>> mean_of_quantiles(((0.25, -4.0), (0.5, 0.0), (0.75, 12.0)))
    3.0
    """
    if not quantiles:
        return None
    levels = sorted(level for level, _ in quantiles)
    values = sorted(value for _, value in quantiles)
    edges, heights = [0.0, *levels, 1.0], [values[0], *values, values[-1]]
    steps = zip(edges, edges[1:], heights, heights[1:], strict=False)
    return sum((right - left) * (low + high) / 2 for left, right, low, high in steps)
