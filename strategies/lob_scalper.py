"""Lean with the book: enter on the side that the resting orders press to, makers first, and leave within seconds."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from tradebot.events import BookSampled, Filled
from tradebot.trading.exits import Exit, Reversal, StopLoss, TimeExit, Wanted, first, protected
from tradebot.trading.strategy import Intent, Strategy, View

Share = Annotated[float, msgspec.Meta(gt=0, le=1)]
Seconds = Annotated[float, msgspec.Meta(ge=0.1, le=86_400)]

TIME = "time"
Busy = Literal["entry", "exit", "rest", ""]


class ScalperParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What pressure is worth an entry, how orders are placed, and when it is over.

    ``levels``: book levels a side that are counted. ``imbalance``: least (bids - asks) / (bids + asks) of their sizes,
    for a long; its negative for a short. ``micro_bp``: least distance of the microprice (best prices weighted by the
    size of the other side) from mid in the same direction. ``rows``: how many 1 s rows in a row must say so.
    ``max_spread_bp``: no entry in a wider book. ``offset_ticks``: how far behind the touch orders rest.
    ``wait_s``: for how long. ``fallback``: what becomes of an entry that was not filled then; exits go at market.
    ``hold_s``: the longest time a position is held. ``inventory``: notional, as a share of equity, from which nothing
    is added. ``pause_s``: rest after a position. ``size``: share of the configured order. ``exits``: further ways out.
    """

    levels: Annotated[int, msgspec.Meta(ge=1, le=10)] = 5
    imbalance: Share = 0.6
    micro_bp: Annotated[float, msgspec.Meta(ge=0)] = 0.1
    rows: Annotated[int, msgspec.Meta(ge=1, le=60)] = 2
    max_spread_bp: Annotated[float, msgspec.Meta(gt=0)] = 3.0
    offset_ticks: Annotated[int, msgspec.Meta(ge=0, le=1_000)] = 0
    wait_s: Seconds = 3.0
    fallback: Literal["market", "cancel"] = "market"
    hold_s: Seconds = 30.0
    inventory: Share = 0.1
    pause_s: Annotated[float, msgspec.Meta(ge=0, le=86_400)] = 10.0
    size: Share = 1.0
    exits: tuple[Exit, ...] = (StopLoss(bp=25.0), Reversal())


class LobScalper(Strategy):
    """Short positions in time, taken on the pressure of the book; no model is asked."""

    Params = ScalperParams
    params: ScalperParams

    def __init__(self, params: ScalperParams) -> None:
        super().__init__(params)
        self._exits = (*params.exits, TimeExit(seconds=params.hold_s))
        self._pressed: dict[str, tuple[Wanted, int]] = {}
        """Where the book pressed to in the last row, and for how many rows on end."""
        self._busy: dict[str, tuple[Busy, int]] = {}
        """What a symbol is busy with and until when: an order of that kind is working, or it rests."""
        self._timed: dict[str, int] = {}
        """When the position was opened whose time is running."""

    def on_book(self, view: View) -> Intent | None:
        wanted = self._wanted(view)
        leaving = self._leaving(view, wanted)
        if leaving is not None or self._busy_with(view):
            return leaving
        if wanted == "flat" or view.market.spread_bp > self.params.max_spread_bp or self._is_full(view, wanted):
            return None
        entry = self._patient(
            view,
            Intent(
                "enter_long" if wanted == "long" else "enter_short",
                f"book presses {wanted} for {self.params.rows} rows",
                size=self.params.size,
                fallback=self.params.fallback,
            ),
        )
        return protected(entry, self._exits, view)

    def on_fill(self, view: View, fill: Filled) -> Intent | None:
        name = view.market.symbol
        if view.holding.side == "flat":
            self._busy[name] = "rest", view.now_ms + round(1e3 * self.params.pause_s)
            return None
        opened_ms = view.now_ms - view.holding.held_ms
        if self._timed.get(name) == opened_ms:
            return None
        self._timed[name] = opened_ms
        # a quiet book shows no rows: the time exit needs a clock of its own
        left_ms = max(1, round(1e3 * self.params.hold_s) - view.holding.held_ms)
        return Intent("hold", f"{view.holding.side} for {self.params.hold_s} s at most", timer=(TIME, left_ms))

    def on_timer(self, view: View, name: str) -> Intent | None:
        return self._leaving(view, None)

    def _leaving(self, view: View, wanted: Wanted | None) -> Intent | None:
        due = first(self._exits, view, wanted) if self._busy_with(view) != "exit" else None
        return None if due is None else self._patient(view, Intent("exit", due, fallback="market"))

    def _patient(self, view: View, intent: Intent) -> Intent:
        """The intent as a maker order; no other of its kind is asked for while it works."""
        wait_ms = round(1e3 * self.params.wait_s)
        self._busy[view.market.symbol] = "exit" if intent.action == "exit" else "entry", view.now_ms + 2 * wait_ms
        ticks = self.params.offset_ticks
        return msgspec.structs.replace(intent, order="maker", offset_ticks=ticks, wait_ms=wait_ms)

    def _busy_with(self, view: View) -> Busy:
        what, until_ms = self._busy.get(view.market.symbol, ("", 0))
        return what if view.now_ms < until_ms else ""

    def _is_full(self, view: View, wanted: Wanted) -> bool:
        """Nothing is added to a position that is large enough, and nothing entered against one."""
        held = abs(float(view.holding.qty)) * view.market.mid
        enough = held >= self.params.inventory * float(view.account.equity)
        return enough or view.holding.side not in ("flat", wanted)

    def _wanted(self, view: View) -> Wanted:
        """The side that the book pressed to in each of the last ``rows`` rows."""
        now = self._pressure(view.market.book) if view.market.book is not None else "flat"
        last, count = self._pressed.get(view.market.symbol, ("flat", 0))
        count = count + 1 if now == last else 1
        self._pressed[view.market.symbol] = now, count
        return now if count >= self.params.rows else "flat"

    def _pressure(self, book: BookSampled) -> Wanted:
        if not book.bid_px or not book.ask_px or book.stale:
            return "flat"
        bids, asks = sum(book.bid_sz[: self.params.levels]), sum(book.ask_sz[: self.params.levels])
        best_bids, best_asks = book.bid_sz[0], book.ask_sz[0]
        if not (bids + asks > 0 and best_bids + best_asks > 0):
            return "flat"
        imbalance = (bids - asks) / (bids + asks)
        bid, ask = book.bid_px[0], book.ask_px[0]
        micro = (best_bids * ask + best_asks * bid) / (best_bids + best_asks)
        mid = (bid + ask) / 2
        off_bp = 1e4 * (micro - mid) / mid
        if imbalance >= self.params.imbalance and off_bp >= self.params.micro_bp:
            return "long"
        if imbalance <= -self.params.imbalance and off_bp <= -self.params.micro_bp:
            return "short"
        return "flat"
