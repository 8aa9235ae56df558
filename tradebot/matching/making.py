"""New orders and trigger orders, not yet known to anyone: their ids, shapes and names."""

from __future__ import annotations

from decimal import Decimal

from tradebot.matching.account import Account
from tradebot.matching.orders import Intent, MarginMode, Order, OrderRequest, opposite
from tradebot.matching.plans import PlanOrder, PlanType
from tradebot.matching.position import Position

FORCED_BILLS = {"reduce_": "force_", "burst_": "burst_"}


class Maker:
    """Gives ids and makes what enters the engine of ``account``."""

    def __init__(self, account: Account) -> None:
        self.last_id = 0
        self._account = account

    def next_id(self, ts_ms: int) -> str:
        """A 19-digit id that grows with time and is never given twice."""
        self.last_id = max(self.last_id + 1, ts_ms * 1_000_000)
        return str(self.last_id)

    def new_order(
        self,
        request: OrderRequest,
        intent: Intent,
        margin: tuple[MarginMode, int, Decimal],
        ts_ms: int,
        *,
        source: str = "",
        trade_side: str = "",
    ) -> Order:
        """An order of ``request``, not yet known to anyone. ``margin`` is mode, leverage and the price reserved at.

        A given ``trade_side`` is that of an order of the venue itself.
        """
        mode, leverage, margin_price = margin
        order_id = self.next_id(ts_ms)
        shape = f"{intent.side}_single" if intent.pos_side == "net" else "close" if intent.closes else "open"
        return Order(
            order_id=order_id,
            client_oid=request.client_oid or self.next_id(ts_ms),
            symbol=request.symbol,
            side=intent.side,
            order_type=request.order_type,
            qty=request.qty,
            price=request.price if request.order_type == "limit" else None,
            tif=request.tif,
            reduce_only=intent.closes,
            margin_mode=mode,
            leverage=leverage,
            margin_price=margin_price,
            created_ms=ts_ms,
            updated_ms=ts_ms,
            trade_side=trade_side or shape,
            pos_side=intent.pos_side,
            presets=request.presets,
            stp=request.stp,
            source=source or ("market" if request.order_type == "market" else "normal"),
            entered_by="SYS" if trade_side else "API",
        )

    def market_close(
        self, held: Position, ts_ms: int, *, client_oid: str = "", qty: Decimal | None = None, forced: str = ""
    ) -> Order:
        """A market order that closes a position, whole unless told, not yet known to anyone.

        ``forced`` is ``burst`` or ``reduce`` for an order of the venue itself.
        """
        intent = Intent(held.pos_side, opposite(held.side), True)
        request = OrderRequest(
            symbol=held.symbol,
            side=intent.side,
            order_type="market",
            qty=held.size if qty is None else qty,
            tif="ioc",
            client_oid=client_oid,
        )
        shape = f"{intent.side}_single" if held.pos_side == "net" else f"close_{held.pos_side}"
        return self.new_order(
            request,
            intent,
            (held.margin_mode, held.leverage, self._account.mark(held.symbol)),
            ts_ms,
            source="liquidation" if forced else "market",
            trade_side=f"{forced}_{shape}" if forced else "",
        )

    def preset_plans(self, order: Order, qty: Decimal, ts_ms: int) -> list[PlanOrder]:
        """The presets of an order as plans for ``qty`` that it has just opened (protocol section 9)."""
        presets = order.presets
        kinds: tuple[tuple[PlanType, Decimal | None, Decimal | None, bool], ...] = (
            ("loss_plan", presets.stop_loss, presets.stop_loss_limit, order.side == "buy"),
            ("profit_plan", presets.take_profit, presets.take_profit_limit, order.side == "sell"),
        )
        return [
            PlanOrder(
                order_id=self.next_id(ts_ms),
                client_oid=self.next_id(ts_ms),
                symbol=order.symbol,
                plan=kind,
                side=opposite(order.side),
                pos_side=order.pos_side,
                trigger_price=trigger,
                trigger_type=presets.stop_loss_type if kind == "loss_plan" else presets.take_profit_type,
                fires_below=below,
                qty=qty,
                execute_price=limit,
                reduce_only=True,
                created_ms=ts_ms,
                updated_ms=ts_ms,
                acting=True,
                preset_of=order.order_id,
                margin_mode=order.margin_mode,
            )
            for kind, trigger, limit, below in kinds
            if trigger is not None
        ]


def business(order: Order) -> str:
    """The businessType of a bill for an execution (protocol section 7.8)."""
    name = order.trade_side
    if order.entered_by == "SYS":
        for said, billed in FORCED_BILLS.items():
            name = name.replace(said, billed)
    elif order.pos_side != "net":
        name = f"{name}_{order.pos_side}"
    return name.removesuffix("_single")
