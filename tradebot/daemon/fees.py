"""What trading costs: a contract's base rates, those that somebody configured, or the account's own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from decimal import Decimal

import msgspec
import structlog

from tradebot.errors import AuthRefused, ExchangeError
from tradebot.exchange.bitget.rest import BitgetRest
from tradebot.market.candle import DAY_MS
from tradebot.market.instrument import Instrument
from tradebot.shell.clock import Clock

log = structlog.get_logger(__name__)

Fees = Callable[[Instrument], Awaitable[Instrument]]
"""A contract of the public list at the fees that are paid in it."""


class ConfiguredFees:
    """The rates (fractions of notional) of a fee tier that was configured; None: the contract's."""

    def __init__(self, maker: Decimal | None, taker: Decimal | None) -> None:
        self._rates = {name: rate for name, rate in (("maker_fee", maker), ("taker_fee", taker)) if rate is not None}

    async def __call__(self, instrument: Instrument) -> Instrument:
        return msgspec.structs.replace(instrument, **self._rates)


class AccountFees:
    """The account's own rates (protocol section 6.2), asked for once a day for each contract.

    While the exchange does not tell them the last known ones count, before the first answer the contract's; every look
    at the contracts asks again.
    """

    def __init__(self, rest: BitgetRest, clock: Clock) -> None:
        self._rest = rest
        self._clock = clock
        self._known: dict[str, tuple[Decimal, Decimal, int]] = {}
        """Maker, taker, and until when they are not asked for again, by symbol."""

    async def __call__(self, instrument: Instrument) -> Instrument:
        """Raises AuthRefused."""
        symbol = instrument.symbol
        known = self._known.get(symbol)
        if known is None or self._clock.now_ms() >= known[2]:
            try:
                maker, taker = await self._rest.trade_rate(symbol)
            except AuthRefused:
                raise
            except ExchangeError as error:
                log.warning("fees_unknown", symbol=symbol, reason=str(error))
            else:
                known = self._known[symbol] = (maker, taker, self._clock.now_ms() + DAY_MS)
        if known is None:
            return instrument
        return msgspec.structs.replace(instrument, maker_fee=known[0], taker_fee=known[1])
