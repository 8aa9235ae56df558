"""The last 24 hours of a contract, as a list of all contracts tells them."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class DayTicker:
    """Quote volume of the last 24 hours in USDT, and the best bid and ask now (0: none)."""

    symbol: str
    quote_volume: Decimal
    bid: Decimal
    ask: Decimal

    @property
    def spread_bp(self) -> float | None:
        """Spread over mid in bp; None without a bid and an ask, or with a crossed pair."""
        if not 0 < self.bid <= self.ask:
            return None
        return float((self.ask - self.bid) / (self.ask + self.bid) * 20_000)
