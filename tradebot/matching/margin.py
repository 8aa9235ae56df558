"""Position tiers and the liquidation price (protocol sections 6.9 and 7.11)."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from decimal import Decimal

import msgspec

from tradebot.market.instrument import ZERO, Instrument


class Tier(msgspec.Struct, frozen=True, kw_only=True):
    """A range of position value (USDT, start < value ≤ end) with its largest leverage and maintenance rate."""

    level: int
    start: Decimal
    end: Decimal
    max_leverage: int
    maintenance_rate: Decimal


def default_tiers(instrument: Instrument) -> tuple[Tier, ...]:
    """Tiers of the shape the exchange publishes, from the contract's largest leverage and maintenance rate."""
    shape = ((50_000, 75, 1), (200_000, 50, 2), (1_000_000, 20, 5), (5_000_000, 10, 10), (50_000_000, 5, 20))
    tiers: list[Tier] = []
    start = Decimal(0)
    for level, (end, leverage, factor) in enumerate(shape, 1):
        tiers.append(
            Tier(
                level=level,
                start=start,
                end=Decimal(end),
                max_leverage=instrument.max_leverage if level == 1 else min(leverage, instrument.max_leverage),
                maintenance_rate=instrument.maintenance_rate * factor,
            )
        )
        start = Decimal(end)
    return tuple(tiers)


def tier_of(tiers: tuple[Tier, ...], value: Decimal) -> Tier:
    """The tier that holds a position value; the last one when the value is beyond all."""
    for tier in tiers:
        if value <= tier.end:
            return tier
    return tiers[-1]


def largest_value(tiers: tuple[Tier, ...], leverage: int) -> Decimal:
    """Largest position value (USDT) allowed at a leverage."""
    return max((t.end for t in tiers if t.max_leverage >= leverage), default=Decimal(0))


class Leg(msgspec.Struct, frozen=True):
    """A position as liquidation sees it: signed quantity, entry value, tiers and the fee to close."""

    qty: Decimal
    cost: Decimal
    tiers: tuple[Tier, ...]
    taker_fee: Decimal

    def surplus(self, mark: Decimal) -> Decimal:
        """Unrealised profit less maintenance at ``mark``."""
        return mark * self.slope(mark) - self.paid

    def slope(self, mark: Decimal) -> Decimal:
        """What the surplus gains by one USDT of the mark, in the tier that holds at ``mark``."""
        rate = tier_of(self.tiers, abs(self.qty) * mark).maintenance_rate + self.taker_fee
        return self.qty - abs(self.qty) * rate

    @property
    def paid(self) -> Decimal:
        """Entry value, negative of what was sold."""
        return self.cost if self.qty > 0 else -self.cost


def liquidation_price(legs: Sequence[Leg], backing: Decimal, mark: Decimal) -> Decimal | None:
    """The first price, going from ``mark`` the losing way, at which the ``legs`` of one symbol are liquidated.

    That is where ``backing`` + unrealised ≤ maintenance: ``mark`` itself when it is so already, an edge of a tier when
    the higher rate beyond it is too much, None when no price is.
    """
    if backing + sum((leg.surplus(mark) for leg in legs), ZERO) <= 0:
        return mark
    edges = sorted({tier.end / abs(leg.qty) for leg in legs for tier in leg.tiers[:-1]})
    lows = [ZERO, *edges]
    here = bisect_left(edges, mark)
    # within a range of tiers the account has base + slope * price left; the slope falls from range to range
    base = backing - sum((leg.paid for leg in legs), ZERO)
    falling = base < 0
    for i in range(here, -1, -1) if falling else range(here, len(lows)):
        low = lows[i]
        high = edges[i] if i < len(edges) else None
        inside = low + 1 if high is None else (low + high) / 2
        slope = sum((leg.slope(inside) for leg in legs), ZERO)
        if falling:
            price = -base / slope
            if price > low:
                return price
        elif slope < 0 or (slope == 0 and base == 0):
            price = max(-base / slope, low) if slope else low
            if high is None or price <= high:
                return price
    return None
