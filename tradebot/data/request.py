"""What history is asked for: which series, and from which day to which."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tradebot.data.partition import date_of, day_start
from tradebot.data.plan import Series
from tradebot.data.sources.venues import BEGAN, PREFIX, offers
from tradebot.errors import ConfigError
from tradebot.market.candle import DAY_MS


@dataclass(frozen=True, slots=True)
class HistoryRequest:
    """``start`` and ``end`` are UTC days, both included; without a start, ``days`` before the end; without an end, now.

    ``interval`` is that of candles; ``grid_ms`` and ``depth`` (levels) are those of book rows. Raises ConfigError for a
    start from before any of the venues existed.
    """

    symbols: Sequence[str]
    venues: Sequence[str]
    kinds: Sequence[str]
    interval: str
    grid_ms: int
    depth: int
    start: str | None
    end: str | None
    days: int

    def __post_init__(self) -> None:
        if self.start:
            self._refuse_too_early(day_start(self.start))

    def series(self) -> list[Series]:
        """Of each venue what it has. Raises ConfigError for what no venue has."""
        rest = {"candles": self.interval, "mark": self.interval, "books": f"{self.grid_ms // 1000}s_l{self.depth}"}
        found = [
            Series(venue, PREFIX[kind] + rest.get(kind, ""), symbol)
            for symbol in self.symbols
            for venue in self.venues
            for kind in self.kinds
            if offers(venue, kind)
        ]
        if not found:
            raise ConfigError(f"nothing to fetch: {', '.join(self.venues)} have no {', '.join(self.kinds)}")
        return found

    def span(self, now_ms: int) -> tuple[int, int]:
        """First and last day as their beginnings in ms, no later than today. Raises ConfigError."""
        today = day_start(date_of(now_ms))
        last = min(day_start(self.end), today) if self.end else today
        first = day_start(self.start) if self.start else last - (self.days - 1) * DAY_MS
        if first > last:
            raise ConfigError(f"the first day {date_of(first)} is after the last, {date_of(last)}; give an earlier one")
        self._refuse_too_early(first)
        return first, last

    def _refuse_too_early(self, first_ms: int) -> None:
        began = min(BEGAN[venue] for venue in self.venues)
        if first_ms < day_start(began):
            raise ConfigError(
                f"the first day {date_of(first_ms)} lies before {', '.join(self.venues)} began ({began}); "
                "give a later one (--from), or fewer days (--days)"
            )
