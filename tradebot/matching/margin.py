"""Position tiers and the liquidation price (protocol sections 6.9 and 7.11)."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from tradebot.market.instrument import Instrument


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


def liquidation_price(
    qty: Decimal, cost: Decimal, backing: Decimal, tiers: tuple[Tier, ...], taker_fee: Decimal
) -> Decimal | None:
    """Mark P at which ``backing`` + unrealised = P × |qty| × (tier rate + taker fee), or None when P ≤ 0.

    ``qty`` is signed, ``cost`` the entry value. The tier is that of the position's value at P itself.
    """
    size = abs(qty)
    price = Decimal(0)
    for tier in tiers:
        rate = tier.maintenance_rate + taker_fee
        price = (cost - backing) / (size * (1 - rate)) if qty > 0 else (cost + backing) / (size * (1 + rate))
        if price * size <= tier.end:
            break
    return price if price > 0 else None
