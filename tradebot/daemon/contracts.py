"""The contracts that are traded: their terms at the start, and what changes of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from decimal import Decimal

import msgspec
import structlog

from tradebot.daemon.fees import Fees
from tradebot.errors import ConfigError
from tradebot.events import CommandOutcome, Event, InstrumentUpdated, Record
from tradebot.exchange.bitget.rest import BitgetRest
from tradebot.market.instrument import Instrument
from tradebot.shell.clock import Clock

log = structlog.get_logger(__name__)

EVERY_MS = 3_600_000
AT_MOST_EVERY_MS = 60_000
TERMS_REFUSED = frozenset({
    "22038", "40034", "40053", "40072", "40102", "40808", "40844", "40845", "41113", "41114", "43006", "43007",
    "43011", "43028", "43115", "45035", "45043", "45107", "45108", "45110", "45111", "45115", "45119",
})  # fmt: skip
"""Codes that say that a contract's terms are not what we believe: ticks, lots, limits, trading stopped (protocol
section 5.1)."""
GONE = "off"
"""Status of a contract that the exchange does not list any more."""


class Contracts:
    """Tells ``put`` the terms of ``symbols``: limits, fees and announced stops of trading (protocol section 6.2).

    ``fees`` puts them at the fees that are paid. A contract that is not listed any more is told as ``off``. Rows that
    cannot be read may be the missing one: nothing is concluded then, and the list is looked at again in a minute.
    """

    def __init__(
        self, rest: BitgetRest, symbols: Sequence[str], clock: Clock, put: Callable[[Event], None], fees: Fees
    ) -> None:
        self._rest = rest
        self._fees = fees
        self._symbols = symbols
        self._clock = clock
        self._put = put
        self._known: dict[str, Instrument] = {}
        self.offered: frozenset[str] = frozenset()
        """Every contract that the exchange had at the start."""
        self._next_ms: int | None = None
        self._looked_ms = 0

    async def load(self) -> None:
        """Tell all of them. Raises ConfigError when the exchange does not have one."""
        found = {i.symbol: i for i in await self._rest.contracts()}
        self.offered = frozenset(found)
        missing = [s for s in self._symbols if s not in found]
        if missing:
            names = ", ".join(sorted(found)[:8])
            raise ConfigError(f"symbols: {', '.join(missing)}: not a contract of this exchange (it has {names}, …)")
        priced = await asyncio.gather(*(self._fees(found[symbol]) for symbol in self._symbols))
        self._known = {instrument.symbol: instrument for instrument in priced}
        for instrument in self._known.values():
            self._put(InstrumentUpdated(instrument=instrument))
        self._looked_ms = self._clock.now_ms()
        self._next_ms = self._looked_ms + EVERY_MS

    def taker_fee(self, symbol: str) -> Decimal | None:
        """Fraction of notional, None while it is unknown."""
        instrument = self._known.get(symbol)
        return instrument.taker_fee if instrument is not None else None

    def __call__(self, seq: int, ts_ms: int, record: Record) -> None:
        """An order was refused because of the contract's terms: look at once (an observer of the sequencer)."""
        if isinstance(record, CommandOutcome) and record.code in TERMS_REFUSED and self._next_ms is not None:
            self._next_ms = min(self._next_ms, max(ts_ms, self._looked_ms + AT_MOST_EVERY_MS))

    def next_due_ms(self) -> int | None:
        return self._next_ms

    async def tick(self) -> None:
        now = self._clock.now_ms()
        if self._next_ms is None or now < self._next_ms:
            return
        unreadable = self._rest.unreadable
        found = {instrument.symbol: instrument for instrument in await self._rest.contracts()}
        whole = self._rest.unreadable == unreadable
        for symbol, known in self._known.items():
            instrument = found.get(symbol)
            if instrument is not None:
                instrument = await self._fees(instrument)
            elif whole:
                instrument = msgspec.structs.replace(known, status=GONE)
            if instrument is not None and instrument != known:
                log.warning("contract_changed", symbol=symbol, status=instrument.status)
                self._known[symbol] = instrument
                self._put(InstrumentUpdated(instrument=instrument))
        self._looked_ms, self._next_ms = now, now + (EVERY_MS if whole else AT_MOST_EVERY_MS)
