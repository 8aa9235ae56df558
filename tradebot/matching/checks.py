"""What a contract allows: checks that need no account state. Codes of protocol section 5.1."""

from __future__ import annotations

import re
from decimal import Decimal

from tradebot.market.instrument import Instrument, Side
from tradebot.matching.orders import OrderRefused, OrderRequest, Presets

_CLIENT_OID = re.compile(r"[0-9A-Za-z\-+_#]{1,49}\Z")

_STATUS_REFUSALS = {
    "listed": ("40844", "is not open for trading yet"),
    "maintain": ("40844", "is under maintenance"),
    "restrictedAPI": ("22004", "does not support trading through the API"),
    "off": ("40845", "has been removed"),
}


def check_client_oid(client_oid: str) -> None:
    """Allowed characters and length of a client order id (protocol section 8.3)."""
    if client_oid and not _CLIENT_OID.match(client_oid):
        raise OrderRefused("40017", f"Parameter verification failed clientOid {client_oid[:60]}")


def check_status(instrument: Instrument, ts_ms: int, *, reduces: bool) -> None:
    """Whether the contract takes orders now: by its status, or because an announced moment has come."""
    if _past(instrument.off_time_ms, ts_ms):
        raise OrderRefused("40845", f"{instrument.symbol} has been removed")
    if not reduces and (instrument.status == "limit_open" or _past(instrument.limit_open_time_ms, ts_ms)):
        raise OrderRefused("45119", f"{instrument.symbol}: opening positions is currently not allowed")
    refusal = _STATUS_REFUSALS.get(instrument.status)
    if refusal is not None:
        raise OrderRefused(refusal[0], f"{instrument.symbol} {refusal[1]}")


def _past(moment_ms: int | None, ts_ms: int) -> bool:
    return moment_ms is not None and ts_ms >= moment_ms


def check_price(instrument: Instrument, price: Decimal, name: str = "price") -> None:
    """A price is positive and on the tick."""
    if not price.is_finite() or price <= 0:
        raise OrderRefused("40020", f"Parameter {name} error")
    if price % instrument.tick:
        raise OrderRefused("45115", f"The {name} you entered should be a multiple of {instrument.tick}")


def check_qty(instrument: Instrument, qty: Decimal, *, market: bool) -> None:
    """A quantity is a multiple of the lot between the contract's limits."""
    if not qty.is_finite() or qty <= 0:
        raise OrderRefused("40020", "Parameter size error")
    if qty % instrument.lot:
        raise OrderRefused("22038", f"The order quantity must be an integer multiple of {instrument.lot}")
    if qty < instrument.min_qty:
        raise OrderRefused("45111", f"less than the minimum order quantity {instrument.min_qty}")
    most = instrument.max_market_qty if market else instrument.max_qty
    if most is not None and qty > most:
        raise OrderRefused("45112", f"exceeds the maximum order quantity {most}")


def check_notional(instrument: Instrument, value: Decimal) -> None:
    """An opening order is worth at least the contract's minimum."""
    if value < instrument.min_notional:
        raise OrderRefused("45110", f"less than the minimum amount {instrument.min_notional} USDT")


def check_band(side: Side, price: Decimal, mark: Decimal, ratio: Decimal) -> None:
    """A buy may not exceed mark × (1 + ratio), a sell not go below mark × (1 − ratio) (protocol section 6.2)."""
    if side == "buy" and price > mark * (1 + ratio):
        raise OrderRefused("43008", f"The current order price cannot be higher than {mark * (1 + ratio)}")
    if side == "sell" and price < mark * (1 - ratio):
        raise OrderRefused("43009", f"The current order price cannot be lower than {mark * (1 - ratio)}")


def check_market_price(side: Side, best: Decimal, mark: Decimal, ratio: Decimal) -> None:
    """A market order may not begin beyond the band either."""
    if side == "buy" and best > mark * (1 + ratio):
        raise OrderRefused("22008", f"The market price {best} is above the risk price {mark * (1 + ratio)}")
    if side == "sell" and best < mark * (1 - ratio):
        raise OrderRefused("22009", f"The market price {best} is below the risk price {mark * (1 - ratio)}")


def check_presets(instrument: Instrument, presets: Presets) -> None:
    """Prices of presets are on the tick."""
    named = (
        ("presetStopLossPrice", presets.stop_loss),
        ("presetStopLossExecutePrice", presets.stop_loss_limit),
        ("presetStopSurplusPrice", presets.take_profit),
        ("presetStopSurplusExecutePrice", presets.take_profit_limit),
    )
    for name, price in named:
        if price is not None:
            check_price(instrument, price, name)


def check_preset_sides(direction: Side, presets: Presets, reference: Decimal) -> None:
    """Presets lie on their sides of the price the order opens at."""
    for trigger, profit in ((presets.stop_loss, False), (presets.take_profit, True)):
        if trigger is not None:
            check_protection(direction, trigger, reference, profit=profit)


def check_protection(position: Side, trigger: Decimal, reference: Decimal, *, profit: bool) -> None:
    """A long's stop lies below the market and its target above; a short's the other way."""
    above = profit == (position == "buy")
    if trigger <= reference if above else trigger >= reference:
        kind = "Take profit" if profit else "Stop loss"
        word = "greater" if above else "less"
        long = "long" if position == "buy" else "short"
        message = f"{kind} price of the {long} position should be {word} than the current price {reference}"
        raise OrderRefused("40915" if profit else "40917", message)


def check_shape(request: OrderRequest, instrument: Instrument, ts_ms: int, *, reduces: bool) -> None:
    """Everything about an order request that the contract alone decides, minimum notional and band apart."""
    check_client_oid(request.client_oid)
    check_status(instrument, ts_ms, reduces=reduces)
    if request.order_type == "limit":
        if request.price is None:
            raise OrderRefused("40019", "Parameter price cannot be empty")
        check_price(instrument, request.price)
    check_qty(instrument, request.qty, market=request.order_type == "market")
    check_presets(instrument, request.presets)
