"""Terms of contracts: told at the start, looked at again every hour and when an order is refused because of them."""

from __future__ import annotations

from decimal import Decimal as D
from typing import Any, cast

import msgspec
import pytest

from tradebot.daemon.contracts import AT_MOST_EVERY_MS, EVERY_MS, Contracts
from tradebot.daemon.fees import AccountFees, ConfiguredFees
from tradebot.errors import AuthRefused, ConfigError, ExchangeError, Unavailable
from tradebot.events import CommandOutcome, Event, InstrumentUpdated
from tradebot.market.candle import DAY_MS
from tradebot.market.instrument import Instrument
from tradebot.shell.clock import PacedClock

T0 = 1_760_000_000_000
SOL = Instrument(symbol="SOLUSDT", tick=D("0.001"), lot=D("0.1"), min_qty=D("0.1"))


class Rig:
    """Contracts of one symbol; ``listed`` is what the exchange has."""

    def __init__(self) -> None:
        self.listed = [SOL, msgspec.structs.replace(SOL, symbol="BTCUSDT")]
        self.told: list[Event] = []
        self.clock = PacedClock()
        self.clock.advance(T0)
        self.looks = 0
        self.unreadable = 0
        self.unreadable_rows = 0
        self.rates: dict[str, tuple[D, D]] | ExchangeError = {}
        self.asked: list[str] = []
        fees = AccountFees(cast(Any, self), self.clock)
        self.contracts_of_account = Contracts(cast(Any, self), ["SOLUSDT"], self.clock, self.told.append, fees)

    async def contracts(self) -> list[Instrument]:
        self.looks += 1
        self.unreadable += self.unreadable_rows
        return self.listed

    async def trade_rate(self, symbol: str) -> tuple[D, D]:
        self.asked.append(symbol)
        if isinstance(self.rates, ExchangeError):
            raise self.rates
        return self.rates.get(symbol, (SOL.maker_fee, SOL.taker_fee))

    async def at(self, ms: int) -> None:
        self.clock.advance(T0 + ms)
        await self.contracts_of_account.tick()

    def refuse(self, code: str) -> None:
        outcome = CommandOutcome(client_oid="a", symbol="SOLUSDT", command="place", outcome="rejected", code=code)
        self.contracts_of_account(1, self.clock.now_ms(), outcome)


async def test_terms_are_told_once_and_again_when_they_changed() -> None:
    rig = Rig()
    await rig.contracts_of_account.load()
    assert rig.told == [InstrumentUpdated(instrument=SOL)]
    assert rig.contracts_of_account.next_due_ms() == T0 + EVERY_MS
    await rig.at(EVERY_MS - 1)
    assert rig.looks == 1
    await rig.at(EVERY_MS)
    assert (rig.looks, len(rig.told)) == (2, 1)
    rig.listed[0] = changed = msgspec.structs.replace(SOL, tick=D("0.01"))
    await rig.at(2 * EVERY_MS)
    assert rig.told[1:] == [InstrumentUpdated(instrument=changed)]


async def test_a_contract_that_vanished_is_told_as_off_once_and_again_when_it_is_back() -> None:
    rig = Rig()
    await rig.contracts_of_account.load()
    gone = rig.listed.pop(0)
    await rig.at(EVERY_MS)
    await rig.at(2 * EVERY_MS)
    assert rig.told[1:] == [InstrumentUpdated(instrument=msgspec.structs.replace(SOL, status="off"))]
    rig.listed.append(gone)
    await rig.at(3 * EVERY_MS)
    assert rig.told[2:] == [InstrumentUpdated(instrument=SOL)]


async def test_a_contract_is_not_taken_for_gone_while_rows_cannot_be_read_and_is_looked_for_again_soon() -> None:
    rig = Rig()
    await rig.contracts_of_account.load()
    del rig.listed[0]
    rig.unreadable_rows = 1
    await rig.at(EVERY_MS)
    assert len(rig.told) == 1
    assert rig.contracts_of_account.next_due_ms() == T0 + EVERY_MS + AT_MOST_EVERY_MS
    rig.unreadable_rows = 0
    await rig.at(EVERY_MS + AT_MOST_EVERY_MS)
    assert len(rig.told) == 2


@pytest.mark.parametrize("code", ["45115", "40844", "45119"])
async def test_an_order_refused_because_of_the_terms_makes_them_be_looked_at_at_once(code: str) -> None:
    rig = Rig()
    await rig.contracts_of_account.load()
    await rig.at(5 * AT_MOST_EVERY_MS)
    rig.refuse(code)
    assert rig.contracts_of_account.next_due_ms() == rig.clock.now_ms()
    await rig.contracts_of_account.tick()
    assert rig.looks == 2
    rig.refuse(code)  # again and again, but not at every refusal
    assert rig.contracts_of_account.next_due_ms() == rig.clock.now_ms() + AT_MOST_EVERY_MS


async def test_other_refusals_say_nothing_about_the_terms() -> None:
    rig = Rig()
    await rig.contracts_of_account.load()
    rig.refuse("43012")
    assert rig.contracts_of_account.next_due_ms() == T0 + EVERY_MS


async def test_a_symbol_the_exchange_does_not_list_is_a_configuration_error() -> None:
    rig = Rig()
    del rig.listed[0]
    with pytest.raises(ConfigError, match="SOLUSDT: not a contract of this exchange"):
        await rig.contracts_of_account.load()


# --- fees -----------------------------------------------------------------------------------------------------------


def at(maker: str, taker: str) -> InstrumentUpdated:
    return InstrumentUpdated(instrument=msgspec.structs.replace(SOL, maker_fee=D(maker), taker_fee=D(taker)))


async def test_contracts_are_told_at_the_accounts_own_fees_which_are_asked_for_once_a_day() -> None:
    rig = Rig()
    rig.rates = {"SOLUSDT": (D("0.00014"), D("0.0004"))}
    await rig.contracts_of_account.load()
    assert rig.told == [at("0.00014", "0.0004")]
    rig.rates = {"SOLUSDT": (D("0.0001"), D("0.00035"))}
    for hour in range(1, 24):
        await rig.at(hour * EVERY_MS)
    assert (rig.asked, len(rig.told)) == (["SOLUSDT"], 1)
    await rig.at(DAY_MS)
    assert rig.told[1:] == [at("0.0001", "0.00035")]
    assert rig.asked == ["SOLUSDT"] * 2


async def test_while_the_exchange_does_not_tell_the_fees_those_of_the_contract_count_then_the_last_known() -> None:
    rig = Rig()
    rig.rates = Unavailable("down")
    await rig.contracts_of_account.load()
    assert rig.told == [InstrumentUpdated(instrument=SOL)]
    rig.rates = {"SOLUSDT": (D("0.0001"), D("0.0003"))}
    await rig.at(EVERY_MS)
    assert rig.told[1:] == [at("0.0001", "0.0003")]
    rig.rates = Unavailable("down")
    await rig.at(EVERY_MS + DAY_MS)
    await rig.at(2 * EVERY_MS + DAY_MS)
    assert len(rig.told) == 2
    assert len(rig.asked) == 4


async def test_a_key_that_is_refused_ends_the_start() -> None:
    rig = Rig()
    rig.rates = AuthRefused("no", code="40009")
    with pytest.raises(AuthRefused):
        await rig.contracts_of_account.load()


async def test_configured_fees_take_the_place_of_the_contracts_one_by_one() -> None:
    assert await ConfiguredFees(None, None)(SOL) == SOL
    assert await ConfiguredFees(None, D("0.0004"))(SOL) == msgspec.structs.replace(SOL, taker_fee=D("0.0004"))
    assert await ConfiguredFees(D("-0.0001"), None)(SOL) == msgspec.structs.replace(SOL, maker_fee=D("-0.0001"))
