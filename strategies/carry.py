"""Take the side that is paid at the next funding settlement, when it is paid enough, and leave after it."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from tradebot.trading.exits import Exit, StopLoss, Wanted, first, protected
from tradebot.trading.strategy import Intent, Strategy, View

MINUTE_MS = 60_000


class CarryParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What funding must pay, and when it is entered and left.

    ``margin_bp``: how far the funding expected must exceed the cost of entering and leaving. ``settlements``: how many
    are waited for. ``persistence``: share of the rate that is expected to be left at each settlement after the next.
    ``enter_within_min``: entered at most so long before a settlement. ``clear_min``: not entered closer to one than
    this, when the rate may still turn, and left no sooner after it; at least as long as risk.funding_window.
    ``order``: maker rests at the touch; exits go at market. ``wait_s``: for so long, then it is given up.
    ``size``: share of the configured order. ``exits``: further ways out.

    The position is not hedged: the price moves more between two settlements than funding usually pays.
    """

    margin_bp: Annotated[float, msgspec.Meta(ge=0)] = 2.0
    settlements: Annotated[int, msgspec.Meta(ge=1, le=24)] = 1
    persistence: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.5
    enter_within_min: Annotated[float, msgspec.Meta(gt=0)] = 60.0
    clear_min: Annotated[float, msgspec.Meta(ge=0)] = 5.0
    order: Literal["market", "maker"] = "maker"
    wait_s: Annotated[float, msgspec.Meta(ge=0.1, le=86_400)] = 60.0
    size: Annotated[float, msgspec.Meta(gt=0, le=1)] = 1.0
    exits: tuple[Exit, ...] = (StopLoss(bp=100.0),)

    def __post_init__(self) -> None:
        if not self.clear_min < self.enter_within_min:
            raise ValueError(f"clear_min {self.clear_min} must lie below enter_within_min {self.enter_within_min}")


class Carry(Strategy):
    """One position per symbol, held over settlements that pay; looks at every candle, asks no model."""

    Params = CarryParams
    params: CarryParams

    def on_candle(self, view: View) -> Intent:
        market, rate_bp = view.market, 1e4 * view.market.funding_rate
        paid: Wanted = "short" if rate_bp > 0 else "long" if rate_bp < 0 else "flat"
        if view.holding.side != "flat":
            return self._held(view, paid)
        if not market.next_funding_ms:
            return Intent("hold", "funding is not known yet")
        cost = view.taker_cost_bp if self.params.order == "market" else self._maker_cost_bp(view)
        income = abs(rate_bp) * sum(self.params.persistence**k for k in range(self.params.settlements))
        until_min = (market.next_funding_ms - view.now_ms) / MINUTE_MS
        terms = f"funding of {rate_bp:+.2f} bp in {until_min:.0f} min, {income:.2f} expected at a cost of {cost:.2f}"
        near = self.params.clear_min <= until_min <= self.params.enter_within_min
        if paid == "flat" or not near or income <= cost + self.params.margin_bp:
            return Intent("hold", terms)
        entry = Intent(
            "enter_long" if paid == "long" else "enter_short",
            terms,
            size=self.params.size,
            order=self.params.order,
            wait_ms=round(1e3 * self.params.wait_s),
        )
        return protected(entry, self.params.exits, view)

    def _held(self, view: View, paid: Wanted) -> Intent:
        due = first(self.params.exits, view, paid)
        if due is not None:
            return Intent("exit", due)
        held = view.holding
        if paid not in ("flat", held.side):
            return Intent("exit", f"funding turned: {held.side} would pay {1e4 * abs(view.market.funding_rate):.2f} bp")
        passed = self._settlements(view, view.now_ms - round(MINUTE_MS * self.params.clear_min))
        if passed >= self.params.settlements:
            return Intent("exit", f"{passed} settlements passed")
        return Intent("hold", f"{passed} of {self.params.settlements} settlements passed")

    def _settlements(self, view: View, until_ms: int) -> int:
        """How many settlements lie after the position was opened and not after ``until_ms``."""
        step_ms = view.market.funding_hours * 60 * MINUTE_MS
        anchor_ms = view.market.next_funding_ms
        opened_ms = view.now_ms - view.holding.held_ms
        return max(0, (until_ms - anchor_ms) // step_ms - (opened_ms - anchor_ms) // step_ms)

    def _maker_cost_bp(self, view: View) -> float:
        """It enters as a maker and leaves by the market: half of either way there and back."""
        return (view.maker_cost_bp + view.taker_cost_bp) / 2
