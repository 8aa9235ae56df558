"""Liquidation: down the tiers first, then whole (protocol sections 7.11 and 8.2).

A position whose maintenance margin is used up is first reduced by the venue to the size of the next lower tier, as
often as it takes (``reduce_*`` orders); only one of the lowest tier is closed whole (``burst_*``). All of it goes
through the book, without an insurance fund: a gap may cost more than the margin. What the visible book cannot take is
tried again at the next mark.
"""

from __future__ import annotations

from decimal import ROUND_FLOOR, Decimal

from tradebot.market.instrument import ZERO, to_multiple
from tradebot.matching.engine import MatchingEngine
from tradebot.matching.position import Position, Slot
from tradebot.matching.reports import Liquidated


class Liquidator:
    """Forces positions of an engine down when a mark asks for it."""

    def __init__(self, engine: MatchingEngine) -> None:
        self._engine = engine
        self._account = engine.account

    def look(self, symbol: str, ts_ms: int) -> None:
        """Liquidate what is below its maintenance margin, judged at the mark of ``symbol``."""
        held = self._account.of(symbol)
        for position in held:
            if position.margin_mode == "isolated" and self._account.margin_ratio(position) >= 1:
                self._liquidate_isolated(position.slot, ts_ms)
        if any(p.margin_mode == "crossed" for p in held) and self._account.risk_rate() >= 1:
            self._liquidate_crossed(ts_ms)

    def close(self, position: Position, ts_ms: int) -> None:
        """Close a position by force whatever its margin is."""
        self._withdraw([position], ts_ms)
        self._force(position, position.size, "burst", ts_ms)

    def _liquidate_isolated(self, slot: Slot, ts_ms: int) -> None:
        withdrawn = False
        while (held := self._account.positions.get(slot)) is not None:
            if self._account.margin_ratio(held) < 1 or not self._has_market(held):
                return
            if not withdrawn:
                self._withdraw([held], ts_ms)
                withdrawn = True
            excess = self._excess(held)
            if excess:
                self._force(held, excess, "reduce", ts_ms)
            else:
                self._force(held, held.size, "burst", ts_ms)

    def _liquidate_crossed(self, ts_ms: int) -> None:
        """The highest tier is reduced first; when nothing can be reduced, all crossed positions are closed."""
        doomed = self._crossed()
        if not doomed:
            return
        self._withdraw(doomed, ts_ms)
        while self._account.risk_rate() >= 1:
            tall = [p for p in self._crossed() if self._excess(p)]
            if not tall:
                break
            highest = max(tall, key=lambda p: self._account.tier(p).level)
            self._force(highest, self._excess(highest), "reduce", ts_ms)
        if self._account.risk_rate() >= 1:
            for held in self._crossed():
                self._force(held, held.size, "burst", ts_ms)

    def _crossed(self) -> list[Position]:
        crossed = (p for p in self._account.positions.values() if p.margin_mode == "crossed")
        return [p for p in crossed if self._has_market(p)]

    def _has_market(self, held: Position) -> bool:
        return self._engine.books[held.symbol].best(held.side) is not None

    def _excess(self, held: Position) -> Decimal:
        """Base coin above what the next lower tier may hold at mark; zero in the lowest tier."""
        tiers = self._engine.tiers[held.symbol]
        level = tiers.index(self._account.tier(held))
        if level == 0:
            return ZERO
        lot = self._engine.instruments[held.symbol].lot
        allowed = to_multiple(tiers[level - 1].end / self._account.mark(held.symbol), lot, ROUND_FLOOR)
        return held.size - allowed if allowed > 0 else ZERO

    def _withdraw(self, positions: list[Position], ts_ms: int) -> None:
        for held in positions:
            for order in self._engine.archive.open_in(held.symbol):
                if order.pos_side == held.pos_side:
                    self._engine.cancel(order, "liquidation_cancel", ts_ms)

    def _force(self, held: Position, qty: Decimal, kind: str, ts_ms: int) -> None:
        engine = self._engine
        forced = engine.maker.market_close(held, ts_ms, qty=qty, forced=kind)
        signed = qty if held.qty > 0 else -qty
        engine.events.append(Liquidated(held.symbol, forced.order_id, signed, self._account.mark(held.symbol), ts_ms))
        engine.put(forced)
        engine.enter(forced, ts_ms)
        engine.settle(ts_ms)
