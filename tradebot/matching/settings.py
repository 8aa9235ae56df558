"""What an account has set for a symbol, and what the venue allows every account."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

import msgspec

from tradebot.market.instrument import Side
from tradebot.matching.orders import MarginMode


@dataclass(slots=True)
class SymbolSettings:
    """Margin mode and leverage of a symbol: one leverage for crossed margin, one per direction for isolated."""

    margin_mode: MarginMode
    crossed_leverage: int
    long_leverage: int
    short_leverage: int

    @classmethod
    def uniform(cls, margin_mode: MarginMode, leverage: int) -> SymbolSettings:
        """The same leverage for everything."""
        return cls(margin_mode, leverage, leverage, leverage)

    def leverage(self, direction: Side, margin_mode: MarginMode | None = None) -> int:
        """Leverage of a position that a trade in ``direction`` opens, in the mode in force unless told."""
        if (margin_mode or self.margin_mode) == "crossed":
            return self.crossed_leverage
        return self.long_leverage if direction == "buy" else self.short_leverage


class VenueLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Limits of the venue (protocol section 6.2), named after the members of a contract.

    ``price_band`` is buy/sellLimitPriceRatio, ``open_cost_up_ratio`` the safety margin on opening cost. Orders and
    trigger orders are counted while they are open, per symbol and over all; positions over all.
    """

    price_band: Decimal = Decimal("0.05")
    open_cost_up_ratio: Decimal = Decimal("0.01")
    max_symbol_orders: int = 200
    max_product_orders: int = 1000
    max_positions: int = 150
    max_symbol_plans: int = 200
