"""Which symbols are traded when nobody lists them: those with the most volume that also pass every rule."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from tradebot.market.day import DayTicker
from tradebot.market.instrument import Instrument

STAYS_WITHIN = Decimal("1.5")
"""A symbol that is in stays in until its rank is below this multiple of ``top``: the edge is no reason to trade."""


@dataclass(frozen=True, slots=True)
class Rules:
    """``top`` symbols by the last 24 hours' quote volume; ``deny`` are never traded."""

    top: int
    max_spread_bp: float
    min_volume: Decimal
    deny: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Choice:
    """``ranked``: what may be traded, most volume first. ``refused``: why not, by symbol, for those with volume."""

    ranked: tuple[str, ...]
    refused: dict[str, str]


def eligible(contracts: Iterable[Instrument], tickers: Iterable[DayTicker], rules: Rules) -> Choice:
    """Rank every contract that can be traded and passes the rules. Equal volumes rank by name."""
    terms = {contract.symbol: contract for contract in contracts}
    rows = sorted(tickers, key=lambda row: (-row.quote_volume, row.symbol))
    ranked: list[str] = []
    refused: dict[str, str] = {}
    for row in rows:
        if row.symbol not in terms:
            continue
        why = _refusal(terms[row.symbol], row, rules)
        if why:
            refused[row.symbol] = why
        else:
            ranked.append(row.symbol)
    return Choice(tuple(ranked), refused)


def chosen(ranked: Sequence[str], top: int, current: Iterable[str] = ()) -> tuple[str, ...]:
    """The universe: those of ``current`` whose rank is near enough, filled up from the best to ``top``, best first.

    >>> chosen(["A", "B", "C", "D", "E"], 2, ["C", "E"])
    ('A', 'C')
    """
    near = ranked[: int(top * STAYS_WITHIN)]
    held = [symbol for symbol in near if symbol in set(current)][:top]
    fresh = [symbol for symbol in ranked if symbol not in held][: top - len(held)]
    return tuple(symbol for symbol in ranked if symbol in held or symbol in fresh)


def _refusal(contract: Instrument, row: DayTicker, rules: Rules) -> str:
    if row.symbol in rules.deny:
        return "denied"
    if contract.status != "normal":
        return f"status {contract.status}"
    if contract.off_time_ms is not None or contract.limit_open_time_ms is not None:
        return "about to be delisted"
    if row.quote_volume < rules.min_volume:
        return f"volume {row.quote_volume:.0f} below {rules.min_volume}"
    spread = row.spread_bp
    if spread is None:
        return "no bid or ask"
    return f"spread {spread:.1f} bp above {rules.max_spread_bp}" if spread > rules.max_spread_bp else ""
