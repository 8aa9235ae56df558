"""The exchange broker over real sockets: what kind of account there is, and what was changed behind the bot's back."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal as D
from typing import Any

import msgspec
import pytest

from tests.sim.clients import KEY, PASSPHRASE, SECRET, Bench, Paced, bench
from tests.sim.walk import START_MS, WalkSource
from tradebot.errors import AuthRefused
from tradebot.events import (
    AccountUpdated,
    AccountVerified,
    EngineConfig,
    Event,
    Filled,
    OrderUpdated,
    PlaceOrder,
    Reconciled,
    StopUpdated,
)
from tradebot.exchange.bitget.rest import BitgetRest
from tradebot.exchange.bitget.signing import Credentials
from tradebot.execution.exchange import ExchangeBroker
from tradebot.sim.auth import Credentials as AccountKey

CREDENTIALS = Credentials(KEY, SECRET, PASSPHRASE)
CONFIG = EngineConfig(mode="live", symbols=("SOLUSDT",), strategy="s", leverage=3)


class Desk:
    """A broker, the exchange it talks to, and somebody else with the same key."""

    def __init__(self, venue: Bench, paced: Paced, broker: ExchangeBroker, rest: BitgetRest) -> None:
        self.venue = venue
        self.broker = broker
        self.rest = rest
        self._paced = paced

    async def act(self, command: PlaceOrder) -> list[Event]:
        """Send a command and let the exchange act on it."""
        events = [event async for event in self.broker.execute(command)]
        for _ in range(3):
            await self._paced.step(self._paced.now["t"] + 200)
        return events

    async def pass_ms(self, ms: int) -> None:
        await self._paced.step(self._paced.now["t"] + ms)

    async def look(self) -> list[Event]:
        return await self.broker.reconcile([], START_MS, self.venue.server.exchange.now_ms)


@asynccontextmanager
async def desk(**options: Any) -> AsyncIterator[Desk]:
    async with (
        bench([WalkSource()], **options) as venue,
        BitgetRest(venue.server.rest_url, credentials=CREDENTIALS, first_retry_s=0.01) as rest,
    ):
        paced = await venue.paced()
        await paced.attach()
        broker = ExchangeBroker(rest, CONFIG, lambda: venue.server.exchange.now_ms, tuple)
        yield Desk(venue, paced, broker, rest)


def settings(events: Sequence[Event]) -> list[tuple[str, str, int]]:
    return [(e.position_mode, e.margin_mode, e.leverage) for e in events if isinstance(e, AccountVerified)]


def order(client_oid: str, **more: Any) -> PlaceOrder:
    return PlaceOrder(
        client_oid=client_oid, symbol="SOLUSDT", side="buy", order_type="market", qty=D(1), purpose="entry",
        decision_id="d", **more,
    )  # fmt: skip


async def test_a_unified_account_is_told_in_one_line() -> None:
    async with desk(account="unified") as d:
        with pytest.raises(AuthRefused) as caught:
            await d.broker.prepare(CONFIG)
    assert caught.value.exit_code == 77
    assert caught.value.code == "40085"
    assert "unified (UTA)" in str(caught.value)
    assert "classic account or sub-account" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("environment", ["live", "demo"])
async def test_a_key_of_the_other_environment_is_told_in_one_line(environment: Any) -> None:
    keys = AccountKey(KEY, SECRET, PASSPHRASE, environment=environment)
    async with bench([WalkSource()], credentials=keys) as venue:
        url, demo = venue.server.rest_url, environment == "live"
        async with BitgetRest(url, credentials=CREDENTIALS, demo=demo) as rest:
            with pytest.raises(AuthRefused, match="other environment") as caught:
                await ExchangeBroker(rest, CONFIG, lambda: 0, tuple).prepare(CONFIG)
        assert (caught.value.code, caught.value.exit_code) == ("40099", 77)
        async with BitgetRest(url, credentials=CREDENTIALS, demo=not demo) as rest:
            assert settings(await ExchangeBroker(rest, CONFIG, lambda: 0, tuple).prepare(CONFIG)) != []


async def test_a_classic_account_is_set_up_and_found_so_again() -> None:
    async with desk() as d:
        assert settings(await d.broker.prepare(CONFIG))[-1] == ("one_way_mode", "isolated", 3)
        assert settings(await d.look()) == [("one_way_mode", "isolated", 3)]


async def test_what_was_changed_from_outside_is_told_and_set_back_while_nothing_is_held() -> None:
    async with desk() as d:
        await d.broker.prepare(CONFIG)
        await d.venue.rest.post("account/set-leverage", symbol="SOLUSDT", leverage="20")
        assert settings(await d.look()) == [("one_way_mode", "isolated", 20), ("one_way_mode", "isolated", 3)]
        await d.venue.rest.post("account/set-margin-mode", symbol="SOLUSDT", marginMode="crossed")
        assert [s[1] for s in settings(await d.look())] == ["crossed", "isolated"]
        await d.venue.rest.post("account/set-position-mode", posMode="hedge_mode")
        assert [s[0] for s in settings(await d.look())] == ["hedge_mode", "one_way_mode"]
        assert settings(await d.look()) == [("one_way_mode", "isolated", 3)]


async def test_nothing_is_changed_while_a_position_is_open() -> None:
    async with desk() as d:
        await d.broker.prepare(CONFIG)
        await d.act(order("tb0-1-1-e", preset_stop=D("140.000")))
        await d.venue.rest.post("account/set-leverage", symbol="SOLUSDT", leverage="20")
        for _ in range(2):
            events = await d.look()
            assert settings(events) == [("one_way_mode", "isolated", 20)]
        (view,) = (e for e in events if isinstance(e, Reconciled))
        assert [p.symbol for p in view.positions] == ["SOLUSDT"]
        await d.act(PlaceOrder(
            client_oid="tb0-1-2-x", symbol="SOLUSDT", side="sell", order_type="market", qty=D(1), purpose="exit",
            decision_id="d", reduce_only=True,
        ))  # fmt: skip
        assert settings(await d.look())[-1] == ("one_way_mode", "isolated", 3)


async def test_the_whole_view_tells_executions_and_the_balance_they_made() -> None:
    async with desk() as d:
        await d.broker.prepare(CONFIG)
        (answer,) = await d.act(order("tb0-1-1-e"))
        events = await d.look()
        (fill,) = (e for e in events if isinstance(e, Filled))
        assert (fill.client_oid, fill.qty, fill.queried) == ("tb0-1-1-e", D(1), True)
        money = [e for e in events if isinstance(e, AccountUpdated)][-1]
        assert money.balance == D(10_000) + fill.fee
        detail = await d.rest.order_detail("SOLUSDT", client_oid="tb0-1-1-e")
        assert detail is not None
        assert isinstance(detail.update, OrderUpdated)
        assert (detail.update.status, detail.update.order_id) == ("filled", getattr(answer, "order_id", ""))


async def test_a_take_profit_travels_with_its_entry_and_its_execution_is_told_as_one() -> None:
    async with desk() as d:
        await d.broker.prepare(CONFIG)
        short = order("tb0-1-1-e", preset_stop=D("160.000"), preset_take_profit=D("149.800"))
        await d.act(msgspec.structs.replace(short, side="sell"))
        (view,) = (e for e in await d.look() if isinstance(e, Reconciled))
        assert {s.plan: s.trigger_price for s in view.stops} == {"loss_plan": D(160), "profit_plan": D("149.8")}
        for _ in range(100):
            await d.pass_ms(30_000)
            events = await d.look()
            if not any(e.positions for e in events if isinstance(e, Reconciled)):
                break
        out = [e for e in events if isinstance(e, Filled) and e.side == "buy"]
        assert [f.qty for f in out] == [D(1)]
        assert out[0].price < 150
        (told,) = (e for e in events if isinstance(e, StopUpdated))
        assert (told.plan, told.status, told.order_id) == ("pos_profit", "executed", out[0].order_id)
