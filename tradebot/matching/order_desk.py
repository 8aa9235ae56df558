"""Orders: accept, act, modify, cancel, close, reverse (protocol section 8)."""

from __future__ import annotations

from decimal import Decimal

from msgspec.structs import replace

from tradebot.market.instrument import ZERO
from tradebot.matching import checks
from tradebot.matching.arithmetic import exactly
from tradebot.matching.desk import Desk
from tradebot.matching.orders import Order, OrderRefused, OrderRequest, PosSide, Presets, named_side, opposite
from tradebot.matching.position import Position


class OrderDesk(Desk):
    """Requests about orders. ``check*`` judges one when it arrives, ``act*`` carries it out at the book."""

    @exactly
    def check(self, request: OrderRequest, ts_ms: int) -> Order:
        """Accept an order: it is live and its margin reserved, but not in the book before :meth:`act`.

        A reduce-only order is cut to the position, and older reduce-only orders that with it would exceed the position
        are canceled (sections 8.1 and 8.2). Raises OrderRefused.
        """
        return self._accept(self._admission.order(request, ts_ms), ts_ms)

    @exactly
    def act(self, order_id: str, ts_ms: int) -> Order:
        """Let an accepted order reach the book; returns its state afterwards. Does nothing when it has ended."""
        order = self._archive.orders[order_id]
        if order_id in self._engine.waiting and order.open:
            order = self._engine.enter(order, ts_ms)
            self._engine.settle(ts_ms)
        return self._archive.orders[order_id]

    def place(self, request: OrderRequest, ts_ms: int) -> Order:
        """:meth:`check` and :meth:`act` at once."""
        return self.act(self.check(request, ts_ms).order_id, ts_ms)

    # --- cancel -----------------------------------------------------------------------------------------------------

    def check_cancel(self, *, order_id: str = "", client_oid: str = "") -> Order:
        """The open order a cancel request means. Raises OrderRefused (40768 unknown, 22001 ended)."""
        order = self._archive.find_order(order_id, client_oid)
        if order is None:
            raise OrderRefused("40768", "Order does not exist")
        if not order.open:
            raise OrderRefused("22001", "No order to cancel")
        return order

    @exactly
    def act_cancel(self, order_id: str, ts_ms: int) -> Order:
        """Cancel an order unless it has ended: a fill may have won."""
        order = self._archive.orders[order_id]
        if order.open:
            self._engine.cancel(order, "normal_cancel", ts_ms)
            self._engine.settle(ts_ms)
        return self._archive.orders[order_id]

    def cancel(self, ts_ms: int, *, order_id: str = "", client_oid: str = "") -> Order:
        """:meth:`check_cancel` and :meth:`act_cancel` at once."""
        return self.act_cancel(self.check_cancel(order_id=order_id, client_oid=client_oid).order_id, ts_ms)

    # --- modify -----------------------------------------------------------------------------------------------------

    @exactly
    def check_modify(
        self, old: Order, qty: Decimal, price: Decimal, client_oid: str, presets: Presets, ts_ms: int
    ) -> OrderRequest:
        """The order that is to take the place of a live limit order under a new client id (section 8.5).

        From now on the client id is taken. Raises OrderRefused (40922 not a live limit order, 40923 nothing changed,
        22003 no new client id, 40786 a known one, and what a new order may be refused with).
        """
        _check_modifiable(old)
        if not client_oid:
            raise OrderRefused("22003", "newClientOid cannot be empty")
        if (qty, price, presets) == (old.qty, old.price, old.presets):
            raise OrderRefused("40923", "Order size and price have not changed")
        hedge = old.pos_side != "net"
        request = OrderRequest(
            symbol=old.symbol,
            side=named_side(old.side, old.pos_side),
            order_type="limit",
            qty=qty,
            price=price,
            tif=old.tif,
            client_oid=client_oid,
            reduce_only=old.reduce_only,
            margin_mode=old.margin_mode,
            presets=presets,
            stp=old.stp,
            trade_side="" if not hedge else "close" if old.reduce_only else "open",
        )
        self._admission.order(request, ts_ms, instead_of=old)
        self._archive.promised.add(client_oid)
        return request

    @exactly
    def act_modify(self, order_id: str, request: OrderRequest, ts_ms: int) -> Order | None:
        """Cancel an order and create its successor; None when a fill came first or the new one is refused now."""
        self._archive.promised.discard(request.client_oid)
        old = self._archive.orders[order_id]
        if old.status != "live":
            return None
        self._engine.cancel(old, "modify_cancel", ts_ms)
        self._engine.settle(ts_ms)
        try:
            order = self._admission.order(request, ts_ms)
        except OrderRefused:
            return None
        return self.act(self._accept(order, ts_ms).order_id, ts_ms)

    def check_presets(self, old: Order, presets: Presets) -> None:
        """Whether the presets of a live limit order may become ``presets``: it keeps its id and its place in the queue.

        Raises OrderRefused (40922, 40923, and for prices off the tick or on the wrong side).
        """
        _check_modifiable(old)
        if presets == old.presets or old.price is None:
            raise OrderRefused("40923", "Order size and price have not changed")
        checks.check_presets(self._admission.instrument(old.symbol), presets)
        checks.check_preset_sides(old.side, presets, old.price)

    @exactly
    def act_presets(self, order_id: str, presets: Presets, ts_ms: int) -> Order:
        """Change the presets of an order unless it has ended."""
        order = self._archive.orders[order_id]
        if order.open:
            self._engine.put(replace(order, presets=presets, updated_ms=ts_ms))
            self._engine.settle(ts_ms)
        return self._archive.orders[order_id]

    # --- close and reverse ------------------------------------------------------------------------------------------

    @exactly
    def check_close(self, symbol: str, ts_ms: int, client_oid: str = "", pos_side: PosSide = "net") -> Order:
        """Accept a flash close: a market reduce-only order for a whole position, dust included (section 8.11).

        Raises OrderRefused (22002 when flat). It reaches the book with :meth:`act`.
        """
        held = self._held(symbol, pos_side, ts_ms)
        checks.check_client_oid(client_oid)
        self._archive.check_order_oid(client_oid)
        return self._accept(self._engine.maker.market_close(held, ts_ms, client_oid=client_oid), ts_ms)

    def close_position(self, symbol: str, ts_ms: int, client_oid: str = "", pos_side: PosSide = "net") -> Order:
        """:meth:`check_close` and :meth:`act` at once."""
        return self.act(self.check_close(symbol, ts_ms, client_oid, pos_side).order_id, ts_ms)

    @exactly
    def check_reverse(
        self, symbol: str, ts_ms: int, *, qty: Decimal | None = None, client_oid: str = "", pos_side: PosSide = "net"
    ) -> list[Order]:
        """Accept the reversal of a position into one of ``qty`` (its own size unless told) the other way.

        One market order in one-way mode; in hedge mode one that closes and one that opens, which has the client id.
        Raises OrderRefused (22002 when flat, and what an order that opens may be refused with).
        """
        held = self._held(symbol, pos_side, ts_ms)
        size = held.size if qty is None else qty
        side = opposite(held.side)
        hedge = pos_side != "net"
        request = OrderRequest(
            symbol=symbol,
            side=side,
            order_type="market",
            qty=size if hedge else held.size + size,
            client_oid=client_oid,
            trade_side="open" if hedge else "",
        )
        opening = self._admission.order(request, ts_ms)
        if not hedge:
            return [self._accept(opening, ts_ms)]
        closing = self._accept(self._engine.maker.market_close(held, ts_ms), ts_ms)
        return [closing, self._accept(opening, ts_ms)]

    @exactly
    def force_close(self, symbol: str, ts_ms: int) -> None:
        """Close the positions of ``symbol``, if there are any, by force as a liquidation does (``burst_*``, SYS)."""
        for held in self.account.of(symbol):
            self._liquidator.close(held, ts_ms)

    # --- inside -----------------------------------------------------------------------------------------------------

    def _held(self, symbol: str, pos_side: PosSide, ts_ms: int) -> Position:
        checks.check_status(self._admission.instrument(symbol), ts_ms, reduces=True)
        held = self.account.held(symbol, pos_side)
        if held is None:
            raise OrderRefused("22002", "No position to close")
        return held

    def _accept(self, order: Order, ts_ms: int) -> Order:
        if order.reduce_only:
            self._evict(order, ts_ms)
        self._admission.take_mode(order)
        self._engine.waiting.add(order.order_id)
        self._engine.put(order)
        self._engine.settle(ts_ms)
        return order

    def _evict(self, order: Order, ts_ms: int) -> None:
        """Cancel older closing orders that with ``order`` exceed the position: one-way as many as it takes, oldest
        first, in hedge mode all."""
        older = self._archive.closing(order.symbol, order.pos_side)
        room = self._engine.closable(order) - order.qty
        total = sum((o.remaining for o in older), ZERO)
        everything = order.pos_side != "net" and total > room
        for old in older:
            if total <= room and not everything:
                break
            total -= old.remaining
            self._engine.cancel(old, "reduce_only_cancel", ts_ms)


def _check_modifiable(order: Order) -> None:
    if order.order_type != "limit" or order.status != "live":
        raise OrderRefused("40922", "Only live orders can be modified")
