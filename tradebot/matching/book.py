"""The book of one symbol: the market's visible levels and our resting orders with their place in the queue.

The market is a recording (or a stream we only watch), so it cannot react to us. What the book does about that:

* Liquidity that our orders took stays consumed until the recorded size of that level changes.
* A resting order joins behind the size visible at its price (``ahead``). Trades at the price and visible sizes below
  ``ahead`` move it forward. A price deeper than the visible depth has an unknown queue, learned when it comes in sight.
* A resting order fills as maker with the volume that would have met it: trades strictly through its price, trades at
  its price beyond the queue ahead, and opposite levels of a new snapshot that cross it (or stand at its price while
  its own side shows nothing there). Volume is never counted twice.

A locked book (best bid = best ask) is a market like any other; a crossed one is refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tradebot.errors import DataError
from tradebot.market.instrument import Side
from tradebot.matching.orders import opposite

Levels = tuple[tuple[int, int], ...]
"""Price levels, best first: (price in ticks, size in lots), sizes positive."""

SIDES: tuple[Side, Side] = ("buy", "sell")


@dataclass(slots=True)
class Resting:
    """One of our orders in the book. ``ahead``: lots of the market to be traded before it, None while out of sight."""

    order_id: str
    side: Side
    ticks: int
    lots: int
    ahead: int | None


@dataclass(frozen=True, slots=True)
class Match:
    """Lots that change hands at ``ticks``. ``order_id`` is the resting order of ours that makes it, or "" (market)."""

    ticks: int
    lots: int
    order_id: str = ""


class Book:
    """Price-time book in whole ticks and lots. Sides are named by the order that would rest there."""

    def __init__(self) -> None:
        self.bids: Levels = ()
        self.asks: Levels = ()
        self._own: dict[str, Resting] = {}
        # side -> ticks -> (recorded size when taken, lots of it our orders took)
        self._taken: dict[Side, dict[int, tuple[int, int]]] = {"buy": {}, "sell": {}}

    # --- what is there ----------------------------------------------------------------------------------------------

    def recorded(self, side: Side) -> Levels:
        """The market's own levels of a side as last recorded."""
        return self.bids if side == "buy" else self.asks

    def market(self, side: Side) -> Levels:
        """The market's levels of a side, less what our orders took."""
        taken = self._taken[side]
        if not taken:
            return self.recorded(side)
        net = ((ticks, size - taken[ticks][1] if ticks in taken else size) for ticks, size in self.recorded(side))
        return tuple(level for level in net if level[1] > 0)

    @property
    def taken(self) -> bool:
        """Whether liquidity that our orders took is still missing."""
        return bool(self._taken["buy"] or self._taken["sell"])

    def consumed(self, side: Side) -> tuple[int, ...]:
        """Prices (ticks) of a side at which liquidity that our orders took is still missing."""
        return tuple(self._taken[side])

    def depth(self, side: Side) -> Levels:
        """What a participant sees on a side: the market less what we took, plus our resting orders."""
        own = [o for o in self._own.values() if o.side == side]
        if not own:
            return self.market(side)
        sizes = dict(self.market(side))
        for order in own:
            sizes[order.ticks] = sizes.get(order.ticks, 0) + order.lots
        return tuple(sorted(sizes.items(), reverse=side == "buy"))

    def best(self, side: Side) -> int | None:
        """Best price of a side in ticks, our own orders included, or None when the side is empty."""
        prices = [o.ticks for o in self._own.values() if o.side == side]
        for ticks, _ in self.market(side):
            prices.append(ticks)
            break
        if not prices:
            return None
        return max(prices) if side == "buy" else min(prices)

    def resting(self, order_id: str) -> Resting | None:
        """Our order in the book, or None when it does not rest."""
        return self._own.get(order_id)

    # --- our orders -------------------------------------------------------------------------------------------------

    def rest(self, order_id: str, side: Side, ticks: int, lots: int) -> None:
        """Add an order at the end of the queue of its price."""
        self._own[order_id] = Resting(order_id, side, ticks, lots, self._visible(side, ticks))

    def remove(self, order_id: str) -> None:
        """Take an order out of the book; unknown ids are ignored."""
        self._own.pop(order_id, None)

    def resize(self, order_id: str, lots: int) -> None:
        """Cut an order, keeping its place in the queue; zero removes it."""
        if lots <= 0:
            self.remove(order_id)
        elif order_id in self._own:
            self._own[order_id].lots = lots

    def fillable(self, side: Side, lots: int, limit: int | None, *, own: bool = True) -> bool:
        """Whether an order of ``side`` for ``lots`` up to ``limit`` ticks would fill at once."""
        for offer in self._offers(side, limit):
            if own or not offer.order_id:
                lots -= offer.lots
                if lots <= 0:
                    return True
        return lots <= 0

    def offers(self, side: Side, limit: int | None) -> Iterator[Match]:
        """What an arriving order of ``side`` would meet up to ``limit`` ticks, best first, market before ours."""
        return self._offers(side, limit)

    def take(self, side: Side, match: Match) -> None:
        """Record that an arriving order of ``side`` took ``match``."""
        if match.order_id:
            self.resize(match.order_id, self._own[match.order_id].lots - match.lots)
        else:
            self._consume(opposite(side), match.ticks, match.lots)

    # --- the market moves -------------------------------------------------------------------------------------------

    def replace(self, bids: Levels, asks: Levels) -> list[Match]:
        """Put a new snapshot in place; returns the fills of our resting orders that it crosses.

        Raises DataError when the snapshot is crossed.
        """
        if bids and asks and bids[0][0] > asks[0][0]:
            raise DataError(f"crossed book: best bid {bids[0][0]} ticks is above best ask {asks[0][0]} ticks")
        self.bids, self.asks = bids, asks
        if self._taken["buy"]:
            self._forget_changed("buy")
        if self._taken["sell"]:
            self._forget_changed("sell")
        if not self._own:
            return []
        for order in self._own.values():
            visible = self._visible(order.side, order.ticks)
            if visible is not None:
                order.ahead = visible if order.ahead is None else min(order.ahead, visible)
        return self._crossed("buy") + self._crossed("sell")

    def trade(self, ticks: int, lots: int, taker: Side) -> list[Match]:
        """A public trade; returns the fills of our resting orders that its volume would have met."""
        if not self._own:
            return []
        fills: list[Match] = []
        for side in SIDES:
            sign = 1 if side == "buy" else -1
            queue = self._queue(side)
            for order in queue:
                if lots > 0 and sign * (order.ticks - ticks) > 0:
                    lots -= self._make(order, lots, fills)
            if side != taker:
                lots = self._advance([o for o in queue if o.ticks == ticks], lots, fills)
        return fills

    # --- inside -----------------------------------------------------------------------------------------------------

    def _visible(self, side: Side, ticks: int) -> int | None:
        """Market size at a price, or None when the price is deeper than the visible depth."""
        recorded = self.recorded(side)
        sign = 1 if side == "buy" else -1
        if not recorded or sign * (recorded[-1][0] - ticks) > 0:
            return None
        for price, size in recorded:
            if price == ticks:
                return size - self._taken[side].get(ticks, (0, 0))[1]
        return 0

    def _queue(self, side: Side) -> list[Resting]:
        """Our orders of a side in price-time priority (dict order is time order)."""
        own = [o for o in self._own.values() if o.side == side]
        own.sort(key=lambda o: -o.ticks if side == "buy" else o.ticks)
        return own

    def _offers(self, side: Side, limit: int | None) -> Iterator[Match]:
        other = opposite(side)
        sign = 1 if side == "buy" else -1
        offers = [Match(ticks, lots) for ticks, lots in self.market(other)]
        own = self._queue(other)
        if own:
            offers += [Match(o.ticks, o.lots, o.order_id) for o in own]
            offers.sort(key=lambda m: (sign * m.ticks, m.order_id != ""))
        for offer in offers:
            if limit is not None and sign * (offer.ticks - limit) > 0:
                return
            yield offer

    def _make(self, order: Resting, lots: int, fills: list[Match]) -> int:
        """Fill a resting order with up to ``lots``; returns how many it took."""
        filled = min(lots, order.lots)
        fills.append(Match(order.ticks, filled, order.order_id))
        self.resize(order.order_id, order.lots - filled)
        return filled

    def _advance(self, queue: list[Resting], lots: int, fills: list[Match]) -> int:
        """Let ``lots`` trade against one price: market ahead of each order first, then the order itself."""
        market = 0
        for order in queue:
            if order.ahead is None:
                break
            step = min(lots, max(0, order.ahead - market))
            market += step
            lots -= step
            if lots <= 0:
                break
            lots -= self._make(order, lots, fills)
        for order in queue:
            if order.ahead is not None:
                order.ahead = max(0, order.ahead - market)
        return lots

    def _crossed(self, side: Side) -> list[Match]:
        """Fill resting orders of ``side`` with the opposite levels that cross them, consuming those levels."""
        fills: list[Match] = []
        other = opposite(side)
        sign = 1 if side == "buy" else -1
        queue = self._queue(side)
        if not queue:
            return fills
        for ticks, size in self.market(other):
            left = size
            for order in queue:
                through = sign * (order.ticks - ticks)
                if left <= 0 or through < 0:
                    break
                if order.order_id in self._own and (through > 0 or order.ahead == 0):
                    left -= self._make(order, left, fills)
            if left == size:
                break
            self._consume(other, ticks, size - left)
        return fills

    def _consume(self, side: Side, ticks: int, lots: int) -> None:
        recorded = dict(self.recorded(side))[ticks]
        already = self._taken[side].get(ticks, (recorded, 0))[1]
        self._taken[side][ticks] = (recorded, already + lots)

    def _forget_changed(self, side: Side) -> None:
        """Drop consumption at levels whose recorded size changed; a level out of sight is not known to have changed."""
        levels = self.recorded(side)
        sizes = dict(levels)
        sign = 1 if side == "buy" else -1
        deepest = levels[-1][0] if levels else None
        self._taken[side] = {
            ticks: entry
            for ticks, entry in self._taken[side].items()
            if sizes.get(ticks) == entry[0] or (deepest is not None and sign * (deepest - ticks) > 0)
        }
