"""Which orders the venue accepts: the contract's terms, then mode, client id, position, price band and margin."""

from __future__ import annotations

from decimal import Decimal

from msgspec.structs import replace

from tradebot.market.instrument import ZERO, Instrument, Side
from tradebot.matching import checks
from tradebot.matching.book import SIDES
from tradebot.matching.engine import MatchingEngine
from tradebot.matching.margin import largest_value
from tradebot.matching.orders import Intent, Order, OrderRefused, OrderRequest, PosSide, intent_of, opposite
from tradebot.matching.settings import VenueLimits


class Admission:
    """Judges requests against the state of an engine; a refused request changes nothing."""

    def __init__(self, engine: MatchingEngine, limits: VenueLimits) -> None:
        self.limits = limits
        self._engine = engine
        self._account = engine.account
        self._archive = engine.archive

    # --- what requests refer to -------------------------------------------------------------------------------------

    def instrument(self, symbol: str) -> Instrument:
        """The contract of a symbol. Raises OrderRefused 40034 when it is unknown."""
        instrument = self._engine.instruments.get(symbol)
        if instrument is None:
            raise OrderRefused("40034", f"Parameter {symbol} does not exist")
        return instrument

    def mark(self, symbol: str) -> Decimal:
        """Mark price or, before the first, the middle of the book. Raises OrderRefused 22045 without either."""
        mark = self._account.marks.get(symbol)
        if mark is not None:
            return mark
        best = [b for b in map(self._engine.books[symbol].best, SIDES) if b is not None]
        if not best:
            raise OrderRefused("22045", f"insufficient liquidity in {symbol}, operate later")
        return sum(best) * self._engine.instruments[symbol].tick / len(best)

    def market_price(self, symbol: str, side: Side) -> Decimal | None:
        """Best price an order of ``side`` would meet, None without an offer."""
        best = self._engine.books[symbol].best(opposite(side))
        return None if best is None else best * self._engine.instruments[symbol].tick

    def margin_price(self, symbol: str, side: Side, price: Decimal | None) -> Decimal:
        """Price the margin of an order is reserved at: its limit, but a sell not below what it would sell at now."""
        if price is not None and side == "buy":
            return price
        best = self.market_price(symbol, side)
        market = self.mark(symbol) if best is None else best
        return market if price is None else max(price, market)

    def free(self) -> Decimal:
        """What may be used to open; negative when losses have eaten into margins."""
        return self._account.free(self._account.locked(self._archive.open.values()))

    def take_mode(self, order: Order) -> None:
        """An accepted order brings its margin mode with it: only the first one of an idle symbol has another one."""
        self._account.settings[order.symbol].margin_mode = order.margin_mode

    # --- orders -----------------------------------------------------------------------------------------------------

    def order(self, request: OrderRequest, ts_ms: int, *, instead_of: Order | None = None) -> Order:
        """The order of a request that may be accepted, not yet stored. Raises OrderRefused.

        ``instead_of`` is an open order that ends when this one is created: it takes no room.
        """
        instrument = self.instrument(request.symbol)
        intent = intent_of(request.side, request.trade_side, request.reduce_only, self._account.position_mode)
        checks.check_shape(request, instrument, ts_ms, reduces=intent.closes)
        self._archive.check_order_oid(request.client_oid)
        others = [o for o in self._archive.open.values() if o is not instead_of]
        self._check_count(request.symbol, others)
        price = request.price if request.order_type == "limit" else None
        margin_price = self.margin_price(request.symbol, intent.side, price)
        if intent.closes:
            return self._closing(request, intent, margin_price, ts_ms)
        mark = self.mark(request.symbol)
        if price is not None:
            checks.check_band(intent.side, price, mark, self.limits.price_band)
        else:
            checks.check_market_price(intent.side, margin_price, mark, self.limits.price_band)
        checks.check_notional(instrument, request.qty * margin_price)
        checks.check_preset_sides(intent.side, request.presets, mark if price is None else price)
        settings = self._account.settings[request.symbol]
        idle = not self._account.of(request.symbol) and not any(o.symbol == request.symbol for o in others)
        mode = request.margin_mode if request.margin_mode is not None and idle else settings.margin_mode
        leverage = settings.leverage(intent.side, mode)
        order = self._engine.maker.new_order(request, intent, (mode, leverage, margin_price), ts_ms)
        self._check_margin(order, others)
        return order

    def _check_count(self, symbol: str, others: list[Order]) -> None:
        if len(others) >= self.limits.max_product_orders:
            raise OrderRefused("40723", "the number of open orders is at its limit")
        if sum(o.symbol == symbol for o in others) >= self.limits.max_symbol_orders:
            raise OrderRefused("43005", f"the number of open orders of {symbol} is at its limit")

    def _closing(self, request: OrderRequest, intent: Intent, margin_price: Decimal, ts_ms: int) -> Order:
        """A reduce-only order or a hedge close: cut to what it can close (sections 8.1 and 8.2)."""
        held = self._account.held(request.symbol, intent.pos_side)
        closable = self._account.closable(request.symbol, intent.pos_side, intent.side)
        if held is None or not closable:
            raise OrderRefused("22002", "No position to close")
        if intent.pos_side == "net":
            self._check_reduces(request, closable)
        else:
            locked = sum((o.remaining for o in self._archive.closing(request.symbol, intent.pos_side)), ZERO)
            rest = closable - locked
            if rest > 0:  # without a rest the locking orders give way
                if request.order_type == "limit" and request.qty > rest:
                    raise OrderRefused("40757", f"Not enough position is available: {rest}")
                closable = rest
        request = replace(request, qty=min(request.qty, closable))
        return self._engine.maker.new_order(request, intent, (held.margin_mode, held.leverage, margin_price), ts_ms)

    def _check_reduces(self, request: OrderRequest, closable: Decimal) -> None:
        """Refuse a resting reduce-only order when plain orders before it in the book close the whole position."""
        if request.price is None:
            return
        ahead = ZERO
        for order in self._archive.open_in(request.symbol):
            if order.side == request.side and not order.reduce_only and order.price is not None:
                before = order.price >= request.price if request.side == "buy" else order.price <= request.price
                ahead += order.remaining if before else ZERO
        if ahead >= closable:
            raise OrderRefused("40939", "This order cannot reduce the position, please cancel older orders")

    def _check_margin(self, order: Order, others: list[Order]) -> None:
        """Refuse an order that opens more than what is free or than the position tiers allow (section 7.11)."""
        account = self._account
        locked = account.locked(others)
        need = account.locked([*others, order]) - locked
        if need <= 0:
            return
        free = account.free(locked)
        if need > free:
            raise OrderRefused(
                "40762", f"The order amount exceeds the balance: needs {need}, free {max(ZERO, free)} USDT"
            )
        held = account.held(order.symbol, order.pos_side)
        if held is None and len(account.positions) >= self.limits.max_positions:
            raise OrderRefused("45116", "the number of positions is at its limit")
        value = self.exposure(order.symbol, order.pos_side, order.side, [*others, order]) * order.margin_price
        tiers = self._engine.tiers[order.symbol]
        if value > tiers[-1].end:
            raise OrderRefused("40921", f"The position would exceed the largest tier ({tiers[-1].end} USDT)")
        most = largest_value(tiers, order.leverage)
        if value > most:
            raise OrderRefused(
                "40762", f"The order size is greater than the max open size at this leverage ({most} USDT)"
            )

    def exposure(self, symbol: str, pos_side: PosSide, side: Side, orders: list[Order]) -> Decimal:
        """Size a position has in the direction of ``side`` when all of ``orders`` that open it that way fill."""
        qty = self._account.signed_qty(symbol, pos_side)
        same = (
            o.remaining
            for o in orders
            if o.symbol == symbol and (o.pos_side, o.side) == (pos_side, side) and not o.reduce_only
        )
        return sum(same, qty if side == "buy" else -qty)
