"""Old parts of the journal go; what is left can be replayed, and a restart finds everything."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.daemon.journaled import Journaled
from tests.trading.driver import BAR, STRATEGIES
from tradebot.daemon.journaling import JournalKeeper
from tradebot.daemon.kept import keep, take_up
from tradebot.daemon.lastrun import read_last_run
from tradebot.daemon.replay import replay, verify
from tradebot.errors import DataError
from tradebot.events import Booted, ForecastReady, RequestForecast, Restored
from tradebot.journal import JournalReader, journal_directory, open_state
from tradebot.journal.expiry import read_expired
from tradebot.trading.engine import Engine
from tradebot.trading.loading import load_strategy
from tradebot.trading.state import TradingState, recover
from tradebot.trading.strategy import Intent, Strategy, View

STORE = Path("no models")
HOUR = 3_600_000
THRESHOLD = load_strategy(STRATEGIES, "threshold")[0]


def keeper(driver: Journaled, **changes: Any) -> JournalKeeper:
    """One that lets go what is older than three hours, with a snapshot every hour."""
    given = {"keep_ms": 3 * HOUR, "max_bytes": None, "snapshot_ms": HOUR, **changes}
    projected = given.pop("projected", lambda seq: True)
    made = JournalKeeper(driver.opened, driver.engine, THRESHOLD, lambda: driver.now_ms, projected, **given)
    assert driver.booted is not None
    made.start(driver.booted)
    return made


async def trade(driver: Journaled, keeping: JournalKeeper, hours: int) -> None:
    """In and out again, candle by candle."""
    for number in range(hours * HOUR // BAR):
        if number % 7 == 0 and not driver.engine.state.portfolio.position("SOLUSDT").qty:
            driver.enter()
        else:
            driver.forecast((number % 5 - 2) * 1.5)
        await keeping.tick()


def known(state: TradingState) -> Any:
    """What a restart continues from, as plain data."""
    return msgspec.to_builtins(TradingState().restored(state.snapshot()).snapshot(), enc_hook=str)


async def test_what_is_older_than_kept_goes_and_the_rest_replays_without_a_difference(tmp_path: Path) -> None:
    with open_state(tmp_path) as opened:
        driver = Journaled(opened)
        await trade(driver, keeper(driver), hours=8)
        assert not JournalReader(opened.reader.directory).is_whole(1)
    [report] = verify(tmp_path, STRATEGIES, STORE)
    assert (report.mismatches, report.what_if, report.left_out) == (0, "", "")
    assert report.after > 0
    candles_kept = report.decisions
    assert 3 * HOUR // BAR <= candles_kept <= 5 * HOUR // BAR
    expired = read_expired(journal_directory(tmp_path))
    assert expired is not None
    assert expired.seq == report.after + 1


async def test_each_kept_decision_is_replayed_from_the_snapshot_before_it_and_an_expired_one_is_told(
    tmp_path: Path,
) -> None:
    with open_state(tmp_path) as opened:
        driver = Journaled(opened)
        await trade(driver, keeper(driver), hours=6)
    for decision_id in (driver.decided[-1], driver.decided[-15], driver.decided[-30]):
        report = replay(tmp_path, STRATEGIES, decision_id)
        assert report.recorded == report.replayed is not None
        assert report.mismatches == 0
        assert report.inputs <= 14 * 3  # an hour's candles, books and forecasts at most
    with pytest.raises(DataError, match=r"cannot be recomputed any more: records of before 2026-01-05 .* have expired"):
        replay(tmp_path, STRATEGIES, driver.decided[0])


async def test_a_restart_finds_the_same_whether_or_not_the_beginning_has_expired(tmp_path: Path) -> None:
    found = []
    for name, kept in (("all", None), ("little", 2 * HOUR)):
        with open_state(tmp_path / name) as opened:
            driver = Journaled(opened)
            await trade(driver, keeper(driver, keep_ms=kept), hours=5)
        with open_state(tmp_path / name) as opened:
            records = read_last_run(opened)
            assert isinstance(records[0][1], Booted)
            assert isinstance(records[1][1], Restored)
            assert (records[0][0] > 1_767_571_200_000) == (kept is not None)
            found.append(known(recover(records, cooldown_ms=0)))
    assert found[0] == found[1]


async def test_a_run_before_the_last_goes_as_a_whole(tmp_path: Path) -> None:
    with open_state(tmp_path) as opened:
        driver = Journaled(opened)
        await trade(driver, keeper(driver, keep_ms=None), hours=2)
    with open_state(tmp_path) as opened:
        driver = Journaled(opened, state=driver.engine.state.snapshot())
        opened.journal.sync()
        await keeper(driver, keep_ms=None, max_bytes=200_000).tick()
        assert opened.reader.epochs() == (2,)
        assert opened.reader.is_whole(2)


async def test_the_journal_stays_below_its_size(tmp_path: Path) -> None:
    most = 500_000
    with open_state(tmp_path) as opened:
        driver = Journaled(opened)
        keeping = keeper(driver, keep_ms=None, max_bytes=most)
        largest = 0
        for _ in range(24):
            await trade(driver, keeping, hours=1)
            opened.journal.sync()
            largest = max(largest, sum(path.stat().st_size for path in opened.reader.directory.iterdir()))
        written = opened.journal.appended_bytes
    assert written > most
    assert largest < most + 150_000  # an hour's records and its snapshot
    [report] = verify(tmp_path, STRATEGIES, STORE)
    assert report.mismatches == 0


async def test_nothing_goes_that_the_ledger_lacks(tmp_path: Path) -> None:
    with open_state(tmp_path) as opened:
        driver = Journaled(opened)
        has = 0
        keeping = keeper(driver, projected=lambda seq: seq <= has)
        await trade(driver, keeping, hours=6)
        assert opened.reader.is_whole(1)
        has = opened.reader.snapshots(1)[1][0] - 1
        await trade(driver, keeping, hours=1)
        assert opened.reader.snapshots(1)[0][0] - 1 == has


async def test_an_expiry_that_is_interrupted_leaves_a_journal_without_its_oldest_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted_after(count: int) -> None:
        unlink, left = Path.unlink, count

        def some(path: Path, missing_ok: bool = False) -> None:
            nonlocal left
            if not left and path.suffix in (".seg", ".snap"):
                raise KeyboardInterrupt
            left -= 1
            unlink(path, missing_ok)

        monkeypatch.setattr(Path, "unlink", some)

    for count in range(3):
        state = tmp_path / str(count)
        with open_state(state) as opened:
            driver = Journaled(opened)
            keeping = keeper(driver, keep_ms=None)
            await trade(driver, keeping, hours=5)
            assert len(opened.reader.files_before(opened.reader.places()[0][2])) == 3  # two segments and a snapshot
            interrupted_after(count)
            with pytest.raises(KeyboardInterrupt):
                keeper(driver, keep_ms=2 * HOUR)._let_go(driver.now_ms)
            monkeypatch.undo()
        with open_state(state) as opened:
            assert recover(read_last_run(opened), cooldown_ms=0).portfolio.snapshot() == (
                driver.engine.state.portfolio.snapshot()
            )
            assert not any(report.mismatches or report.left_out for report in verify(state, STRATEGIES, STORE))
            later = Journaled(opened, state=driver.engine.state.snapshot())
            later.now_ms = driver.now_ms
            keeper(later, keep_ms=0)._let_go(driver.now_ms)
            assert opened.reader.epochs() == (2,)


class Hoarder(Strategy):
    """Keeps what no snapshot can hold."""

    def __init__(self, params: Any) -> None:
        super().__init__(params)
        self.hoard = (number for number in range(3))

    def on_forecast(self, view: View, forecast: ForecastReady) -> Intent:
        return Intent("hold", f"{next(self.hoard, 0)}")


async def test_a_strategy_that_cannot_be_kept_stops_nothing(tmp_path: Path) -> None:
    with open_state(tmp_path) as opened:
        driver = Journaled(opened, strategy=Hoarder, params={})
        with pytest.raises(DataError, match=r"strategy\.hoard: builtins\.generator cannot be kept"):
            keep(driver.engine, Hoarder)
        keeping = JournalKeeper(
            opened, driver.engine, Hoarder, lambda: driver.now_ms, lambda seq: True,
            keep_ms=HOUR, max_bytes=None, snapshot_ms=HOUR,
        )  # fmt: skip
        assert driver.booted is not None
        keeping.start(driver.booted)
        for _ in range(3 * HOUR // BAR):
            driver.forecast(1.0)
            await keeping.tick()
        assert opened.reader.is_whole(1)
        assert not opened.reader.snapshots(1)


class Remembering(Strategy):
    """Acts on what it remembers of earlier candles."""

    def __init__(self, params: Any) -> None:
        super().__init__(params)
        self.seen: list[float] = []

    def on_forecast(self, view: View, forecast: ForecastReady) -> Intent:
        self.seen.append(forecast.expected_bp)
        return Intent("hold", f"sum {sum(self.seen)!r} of {len(self.seen)}")


def test_an_engine_goes_on_exactly_where_it_was_kept_strategy_and_all(tmp_path: Path) -> None:
    with open_state(tmp_path) as opened:
        driver = Journaled(opened, strategy=Remembering, params={})
        for number in range(20):
            driver.forecast(0.1 * number)
        whole = keep(driver.engine, Remembering)
        copy: Engine = take_up(whole, Remembering)
        assert keep(copy, Remembering) == whole
        said = []
        for engine in (driver.engine, copy):
            driver.engine, now_ms = engine, driver.now_ms
            said.append([msgspec.msgpack.encode(c) for n in range(5) for c in driver.forecast(0.3 * n)])
            driver.now_ms = now_ms
    assert said[0] == said[1]


async def test_other_code_takes_up_no_snapshot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_state(tmp_path) as opened:
        driver = Journaled(opened)
        await trade(driver, keeper(driver), hours=6)
    monkeypatch.setattr("tradebot.daemon.replay.engine_hash", lambda: "other")
    [report] = verify(tmp_path, STRATEGIES, STORE)
    assert "its snapshots are of other code" in report.left_out
    assert not report.differs
    with pytest.raises(DataError, match="its snapshots are of other code"):
        replay(tmp_path, STRATEGIES, driver.decided[-1])


async def test_a_damaged_snapshot_is_named(tmp_path: Path) -> None:
    with open_state(tmp_path) as opened:
        driver = Journaled(opened)
        await trade(driver, keeper(driver), hours=6)
        path = opened.reader.snapshots(1)[0][1]
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(Exception, match=f"{path.name} is damaged"):
        list(verify(tmp_path, STRATEGIES, STORE))


@pytest.mark.parametrize("name", sorted(path.stem for path in STRATEGIES.glob("[!_]*.py")))
def test_every_shipped_strategy_can_be_kept(tmp_path: Path, name: str) -> None:
    strategy, _ = load_strategy(STRATEGIES, name)
    with open_state(tmp_path) as opened:
        driver = Journaled(opened, strategy=strategy, params={})
        for number in range(12):
            commands = driver.candle()
            if any(isinstance(command, RequestForecast) for command in commands):
                driver.forecast(3.0 * (-1) ** number, commands)
        whole = keep(driver.engine, strategy)
        assert keep(take_up(whole, strategy), strategy) == whole
