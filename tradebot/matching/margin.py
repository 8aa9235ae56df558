"""Position tiers and the liquidation price (protocol sections 6.9 and 7.11)."""

from __future__ import annotations

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

    def surplus(self, mark: Decimal, tier_mark: Decimal) -> Decimal:
        """Unrealised profit less maintenance at ``mark``, with the tier that holds at ``tier_mark``."""
        value = abs(self.qty) * mark
        rate = tier_of(self.tiers, abs(self.qty) * tier_mark).maintenance_rate + self.taker_fee
        gain = value - self.cost if self.qty > 0 else self.cost - value
        return gain - value * rate


def liquidation_price(legs: Sequence[Leg], backing: Decimal) -> Decimal | None:
    """Mark at which ``backing`` + unrealised = maintenance of ``legs`` of one symbol, or None when no mark > 0 does.

    Between the marks where a leg changes its tier everything is linear. Of several answers the first one counts that
    the mark meets on its losing way: the highest of a net long, the lowest of a net short.
    """
    edges = sorted({tier.end / abs(leg.qty) for leg in legs for tier in leg.tiers[:-1]})
    ranges = list(zip([ZERO, *edges], [*edges, None], strict=True))
    falling = sum((leg.qty for leg in legs), ZERO) > 0
    for low, high in reversed(ranges) if falling else ranges:
        inside = low + 1 if high is None else (low + high) / 2
        at_low = backing + sum((leg.surplus(low, inside) for leg in legs), ZERO)
        slope = sum((leg.surplus(low + 1, inside) - leg.surplus(low, inside) for leg in legs), ZERO)
        if not falling and at_low <= 0 and low > 0:
            return low  # the higher rate of the tier that begins here is already too much
        if slope:
            price = low - at_low / slope
            if price > low and (high is None or price <= high):
                return price
    return None
