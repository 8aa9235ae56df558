"""Public trades."""

from __future__ import annotations

import msgspec

from tradebot.market.instrument import Side


class Trade(msgspec.Struct, frozen=True, array_like=True):
    """One public trade: exchange time in ms (UTC), price in USDT, quantity in base coin, side of the taker."""

    ts_ms: int
    price: float
    qty: float
    side: Side
    trade_id: str = ""
