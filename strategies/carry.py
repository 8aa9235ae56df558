"""Take the side that is paid at the next funding settlement, when it is paid enough, and leave after it."""

from __future__ import annotations

from math import isfinite
from typing import Literal

import msgspec

from tradebot.trading.exits import Exit, StopLoss, Wanted, first, protected
from tradebot.trading.strategy import Intent, Strategy, View

MINUTE_MS = 60_000


class CarryParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What funding must pay, and when it is entered and left.

    ``margin_bp``: how far the funding expected must exceed the cost of entering and leaving. ``settlements``: how many
    are waited for. ``persistence``: what is left of the rate at each settlement after the next, expected; 0: nothing.
    ``enter_within_min``: entered at most so long before a settlement. ``clear_min``: not entered closer to one than
    this, when the rate may still turn, and left no sooner after it; at least as long as ``risk.funding_window``.
    ``order``: ``maker`` rests at the touch for ``wait_s`` and is then given up; exits go to the market. ``size``: share
    of the configured order.

    The position is not hedged: the price moves more between two settlements than funding usually pays.
    """

    margin_bp: float = 2.0
    settlements: int = 1
    persistence: float = 0.5
    enter_within_min: float = 60.0
    clear_min: float = 5.0
    order: Literal["market", "maker"] = "maker"
    wait_s: float = 60.0
    size: float = 1.0
    exits: tuple[Exit, ...] = (StopLoss(bp=100.0),)

    def __post_init__(self) -> None:
        if not (isfinite(self.margin_bp) and self.margin_bp >= 0):
            raise ValueError(f"margin_bp must be 0 or more, got {self.margin_bp}")
        if not 1 <= self.settlements <= 24:
            raise ValueError(f"settlements must lie between 1 and 24, got {self.settlements}")
        if not 0 <= self.persistence <= 1:
            raise ValueError(f"persistence must lie in [0, 1], got {self.persistence}")
        if not 0 <= self.clear_min < self.enter_within_min:
            raise ValueError(
                f"0 <= clear_min < enter_within_min must hold, got {self.clear_min} and {self.enter_within_min}"
            )
        if not self.wait_s > 0:
            raise ValueError(f"wait_s must be positive, got {self.wait_s}")
        if not 0 < self.size <= 1:
            raise ValueError(f"size must lie in (0, 1], got {self.size}")


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
