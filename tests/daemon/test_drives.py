"""How time passes: what is done at a step, by the clock, and while the exchange is away."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic_ns, time_ns
from typing import Any, cast

import pytest

from tests.daemon.test_pacer import exchange as paced_exchange
from tests.eventually import eventually
from tests.exchange.servers import Reply, failure, rest_server, success
from tradebot.daemon.paced import PacedDrive
from tradebot.daemon.wall import SAMPLES, WallDrive
from tradebot.errors import AuthRefused, Unavailable
from tradebot.events import CancelOrder, ClockMeasured, Event
from tradebot.exchange.bitget.rest import BitgetRest
from tradebot.exchange.bitget.signing import Credentials
from tradebot.shell.clock import Clock
from tradebot.shell.course import Course


class Part:
    """A timed part and a chore in one: due at ``due_ms``, fails so often."""

    def __init__(self, clock: Clock, due_ms: int | None) -> None:
        self.clock = clock
        self.due_ms = due_ms
        self.done: list[int] = []
        self.failures: list[Exception] = []

    def next_due_ms(self) -> int | None:
        return self.due_ms

    def on_time(self) -> None:
        self.done.append(self.clock.now_ms())
        self.due_ms = None

    async def tick(self) -> None:
        if self.failures:
            raise self.failures.pop(0)
        self.on_time()


def course(
    clock: Clock,
    *,
    timed: list[Part],
    chores: list[Part],
    check: Callable[[], None] = lambda: None,
    sync: Callable[[], None] = lambda: None,
) -> Course:
    async def settle() -> None:
        return

    return Course(
        timed=timed,
        chores=chores,
        settle=settle,
        check=check,
        sync=sync,
        clock=clock,
        stopping=asyncio.Event(),
        stop_at_ms=None,
    )


async def forever() -> None:
    await asyncio.Event().wait()


async def test_a_paced_run_does_what_is_due_at_each_step_and_says_when_to_wake() -> None:
    async with paced_exchange(10, 20, 30) as venue:
        drive = PacedDrive(venue.url, BitgetRest(venue.url))
        venue.steps = [{**step, "counts": {}} for step in venue.steps]
        await drive.attach(asyncio.Event(), returning=True)
        timer, chore = Part(drive.clock, 20), Part(drive.clock, 25)
        streaming = asyncio.create_task(forever())
        await drive.run(course(drive.clock, timed=[timer], chores=[chore]), streaming)
        streaming.cancel()
        await drive.close()
    assert (timer.done, chore.done) == ([20], [30])
    assert [said["wake"] for said in venue.heard[1:]] == [20, 25, None]


async def test_an_exchange_that_is_away_ends_no_paced_run_and_is_asked_again_at_the_next_step() -> None:
    async with paced_exchange(10, 20, 30) as venue:
        venue.steps = [{**step, "counts": {}} for step in venue.steps]
        drive = PacedDrive(venue.url, BitgetRest(venue.url))
        await drive.attach(asyncio.Event(), returning=True)
        chore = Part(drive.clock, 10)
        chore.failures = [Unavailable("away"), Unavailable("away")]
        streaming = asyncio.create_task(forever())
        await drive.run(course(drive.clock, timed=[], chores=[chore]), streaming)
        streaming.cancel()
        await drive.close()
    assert chore.done == [30]


async def test_a_refused_key_ends_a_run() -> None:
    async with paced_exchange(10, 20, end=False) as venue:
        venue.steps = [{**step, "counts": {}} for step in venue.steps]
        drive = PacedDrive(venue.url, BitgetRest(venue.url))
        await drive.attach(asyncio.Event(), returning=True)
        chore = Part(drive.clock, 10)
        chore.failures = [AuthRefused("no")]
        streaming = asyncio.create_task(forever())
        with pytest.raises(AuthRefused):
            await drive.run(course(drive.clock, timed=[], chores=[chore]), streaming)
        streaming.cancel()
        await drive.close()


class Rest:
    """Tells the exchange's time: the wall clock's plus ``ahead_ms``, unless it is away."""

    def __init__(self) -> None:
        self.ahead_ms = 40
        self.away = 0
        self.asked = 0

    async def server_time(self) -> int:
        self.asked += 1
        if self.away:
            self.away -= 1
            raise Unavailable("away")
        return time_ns() // 1_000_000 + self.ahead_ms


def wall(rest: Rest) -> tuple[WallDrive, list[Event]]:
    told: list[Event] = []
    return WallDrive(cast(Any, rest), told.append), told


async def test_the_wall_drive_knows_the_exchange_s_time_and_signs_by_it() -> None:
    rest = Rest()
    drive, _ = wall(rest)
    assert abs(await drive.synchronise() - 40) <= 5
    before_ms = time_ns() // 1_000_000 + 40
    now_ms = drive.clock.now_ms()
    assert before_ms - 5 <= now_ms <= time_ns() // 1_000_000 + 40 + 5
    assert drive.time.error_ms < 20


async def test_a_refused_timestamp_sets_the_one_clock_that_there_is_however_many_were_refused() -> None:
    """The exchange's clock is set forward: two orders and a regular sample find that at the same time."""
    ahead_ms = 0

    def respond(method: str, path: str, query: dict[str, str], body: bytes) -> Reply:
        now_ms = time_ns() // 1_000_000 + ahead_ms
        if path.endswith("/time"):
            return success({"serverTime": str(now_ms)})
        stamp = int(server.requests[-1][4]["ACCESS-TIMESTAMP"])
        return success({"orderId": "1"}) if abs(stamp - now_ms) < 30_000 else failure("40008")

    def asked(name: str) -> int:
        return [path.rsplit("/", 1)[-1] for _, path, *_ in server.requests].count(name)

    async with rest_server(respond) as server:
        rest = BitgetRest(
            server.url,
            credentials=Credentials("key", "secret", "pass"),
            now_ms=lambda: drive.clock.now_ms(),
            on_clock_refused=lambda: drive.remeasure(),
        )
        drive = WallDrive(rest, lambda event: None)
        async with rest:
            await drive.synchronise()
            before, ahead_ms = asked("time"), 45_000
            cancels = (rest.cancel_order(CancelOrder(client_oid=name, symbol="SOLUSDT")) for name in "ab")
            drive._next_sample_ns = 0
            await asyncio.gather(*cancels, drive._keep_time())
            assert abs(drive.time.offset_ms - 45_000) < 500
            assert asked("cancel-order") == 4
            assert asked("time") <= before + SAMPLES + 1, "who is refused meanwhile waits for the same answer"


async def test_a_changed_difference_to_the_machine_s_clock_is_told_once() -> None:
    rest = Rest()
    drive, told = wall(rest)
    await drive.synchronise()
    streaming = asyncio.create_task(forever())
    going = course(drive.clock, timed=[], chores=[])
    running = asyncio.create_task(drive.run(going, streaming))
    rest.ahead_ms = 2_040
    drive._next_sample_ns = monotonic_ns()
    await eventually(lambda: len(told) == 1)
    assert isinstance(told[0], ClockMeasured)
    assert abs(told[0].offset_ms - 2_040) <= 5
    assert drive.time.steps == 1
    going.stopping.set()
    await running
    assert len(told) == 1
    streaming.cancel()


async def test_a_bot_that_traded_before_waits_for_the_exchange_and_a_new_one_does_not() -> None:
    rest = Rest()
    rest.away = 1
    drive, _ = wall(rest)
    await drive.attach(asyncio.Event(), returning=False)
    assert rest.asked == 0
    await drive.attach(asyncio.Event(), returning=True)
    assert rest.asked == 2


async def test_the_wall_drive_acts_by_the_clock_and_goes_on_when_a_chore_finds_the_exchange_away() -> None:
    drive, _ = wall(Rest())
    await drive.synchronise()
    timer, chore = Part(drive.clock, drive.clock.now_ms() + 50), Part(drive.clock, 0)
    chore.failures = [Unavailable("away")]
    going = course(drive.clock, timed=[timer], chores=[chore])
    streaming = asyncio.create_task(forever())
    running = asyncio.create_task(drive.run(going, streaming))
    await eventually(lambda: timer.done and chore.done)
    going.stopping.set()
    await running
    streaming.cancel()


@pytest.mark.parametrize("slow", ["server_time", "chore"])
async def test_an_endpoint_that_does_not_answer_holds_up_no_other_chore_and_not_the_journal(
    slow: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    synced: list[int] = []

    async def unanswered() -> int:
        asked.append(slow)
        await forever()
        return 0

    rest = Rest()
    drive, _ = wall(rest)
    await drive.synchronise()
    hung, other = Part(drive.clock, 0), Part(drive.clock, 0)
    if slow == "chore":
        monkeypatch.setattr(hung, "tick", unanswered)
    else:
        monkeypatch.setattr(rest, "server_time", unanswered)
        drive._next_sample_ns = monotonic_ns()
    going = course(drive.clock, timed=[], chores=[hung, other], sync=lambda: synced.append(1))
    streaming = asyncio.create_task(forever())
    running = asyncio.create_task(drive.run(going, streaming))
    await eventually(lambda: asked and len(other.done) >= 2 and len(synced) >= 2)
    going.stopping.set()
    await running
    streaming.cancel()
    assert asked == [slow], "it is asked once at a time"


async def test_what_failed_where_nobody_waits_ends_a_run() -> None:
    drive, _ = wall(Rest())
    await drive.synchronise()

    def check() -> None:
        raise Unavailable("the journal")

    streaming = asyncio.create_task(forever())
    with pytest.raises(Unavailable, match="the journal"):
        await drive.run(course(drive.clock, timed=[], chores=[], check=check), streaming)
    streaming.cancel()
