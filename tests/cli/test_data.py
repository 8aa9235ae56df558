"""`tradebot data …` against the embedded exchange, over real sockets."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tests.cli.conftest import Tradebot
from tests.data.test_deeplob import BOOKS, books
from tests.data.test_files import candles, changed, write
from tests.eventually import presently
from tests.sim.walk import HISTORY_MS, START_MS, WalkSource
from tradebot.data.store import Store
from tradebot.market.candle import Candle
from tradebot.sim.faults import Rule, Schedule
from tradebot.sim.server import EmbeddedExchange

DAYS = ("--from", "2025-10-07", "--to", "2025-10-09")
QUICK = ("--kinds", "candles,mark,funding")


@contextmanager
def running(*sources: WalkSource, faults: Schedule | None = None, rate_limits: bool = False) -> Iterator[str]:
    """An exchange whose clock stands still, in a thread of its own; the address of its REST interface."""
    started, ended = threading.Event(), asyncio.Event()
    found: dict[str, Any] = {}

    async def serve() -> None:
        async with EmbeddedExchange(sources, hold=True, faults=faults, rate_limits=rate_limits) as exchange:
            found.update(url=exchange.rest_url, loop=asyncio.get_running_loop())
            started.set()
            await ended.wait()

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    assert started.wait(20)
    try:
        yield found["url"]
    finally:
        found["loop"].call_soon_threadsafe(ended.set)
        thread.join(20)


@pytest.fixture
def exchange(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Two symbols; the commands find it by the environment."""
    with running(WalkSource("SOLUSDT"), WalkSource("BTCUSDT", seed=2)) as url:
        monkeypatch.setenv("TRADEBOT_EXCHANGE__REST_URL", url)
        monkeypatch.setenv("TRADEBOT_EXCHANGE__RATE_LIMITED", "false")
        yield url


def rows(store: Store, symbol: str) -> list[Candle]:
    return [Candle(*row.values()) for row in store.read("bitget", "candle_5m", symbol).to_pylist()]


def recorded(symbol: str, seed: int) -> list[Candle]:
    return list(WalkSource(symbol, seed=seed).candles("5m", START_MS - HISTORY_MS, START_MS - 1, START_MS))


def lines(out: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.splitlines()]


def test_history_is_fetched_listed_verified_and_exported(tradebot: Tradebot, exchange: str, home: Path) -> None:
    done = tradebot("data", "fetch", "--symbol", "SOLUSDT", "BTCUSDT", *DAYS, "--json")
    assert done.code == 0
    (told,) = lines(done.out)
    assert (told["added"], told["problems"], told["failed"]) == (4 * 864 + 2 * 9 + 2, [], {})
    assert "bitget candle_5m: 2 symbols × 0.1 months: 10 requests at 16/s" in done.err
    store = Store(home / "data")
    assert rows(store, "SOLUSDT") == recorded("SOLUSDT", 1)
    assert rows(store, "BTCUSDT") == recorded("BTCUSDT", 2)

    (again,) = lines(tradebot("data", "fetch", "--symbol", "SOLUSDT", *DAYS, *QUICK, "--json").out)
    assert (again["added"], again["requests"]) == (0, 2 * 2 + 1)  # the last day ended this very moment
    (anew,) = lines(tradebot("data", "fetch", "--symbol", "SOLUSDT", *DAYS, *QUICK, "--refresh", "--json").out)
    assert (anew["added"], anew["requests"]) == (0, 2 * 5 + 1)

    listed = lines(tradebot("data", "ls", "--json", "--channel", "candle_5m").out)
    assert [(one["symbol"], one["days"], one["complete"], one["rows"], one["covered"]) for one in listed] == [
        ("BTCUSDT", 3, 2, 864, 1.0),
        ("SOLUSDT", 3, 2, 864, 1.0),
    ]
    days = lines(tradebot("data", "ls", "--days", "--symbol", "SOLUSDT", "--channel", "candle_5m", "--json").out)
    assert [(one["date"], one["rows"], one["source"]) for one in days] == [
        (f"2025-10-0{i}", 288, "rest") for i in (7, 8, 9)
    ]
    assert "100.00%" in tradebot("data", "ls").out
    verified = tradebot("data", "verify")
    assert (verified.code, verified.out) == (0, "")

    exported = tradebot("data", "export", "--format", "csv", "--symbol", "SOLUSDT", "--out", "out", "--json")
    assert (exported.code, lines(exported.out)[0]["rows"]) == (0, 864)
    assert len((home / "out" / lines(exported.out)[0]["file"]).read_text().splitlines()) == 865
    csv = ("data", "export", "--format", "csv", "--symbol", "SOLUSDT", "--out", "out", "--json")
    (part,) = lines(tradebot(*csv, "--from", "2025-10-07T12:00", "--to", "2025-10-08T06:30Z").out)
    noon_ms = 1_759_838_400_000
    assert (part["first_ms"], part["last_ms"]) == (noon_ms, noon_ms + 18 * 3_600_000 + 25 * 60_000)
    (two_days,) = lines(tradebot(*csv, "--from", "2025-10-07", "--to", "2025-10-08").out)
    assert two_days["rows"] == 2 * 288
    nothing = tradebot(*csv, "--from", "2025-10-08T12:00", "--to", "2025-10-08T12:00")
    assert (nothing.code, nothing.err) == (2, "tradebot: --from lies after --to\n")


def test_a_dry_run_tells_how_long_it_would_take_and_stores_nothing(
    tradebot: Tradebot, exchange: str, home: Path
) -> None:
    (home / "config.yaml").write_text("data:\n  days: 92\n  symbols: [SOLUSDT, BTCUSDT]\n  kinds: [candles]\n")
    told = tradebot("data", "fetch", "--dry-run")
    assert told.code == 0
    assert "bitget candle_5m: 2 symbols × 3.0 months: 268 requests at 16/s: 17 s" in told.out
    assert "in all 17 s at the venues' limits" in told.out
    assert not (home / "data").exists()
    (asked,) = lines(tradebot("data", "fetch", "--dry-run", "--json").out)
    assert asked == {"seconds": 16.8, "requests": 268}


def test_symbols_are_ranked_and_the_most_complete_are_kept(tradebot: Tradebot, exchange: str, home: Path) -> None:
    ranked = tradebot("data", "symbols", "--top", "2", "--days", "3", "--json")
    assert ranked.code == 0
    listed = [line.split("\t")[:2] for line in (home / "candidates.txt").read_text().splitlines() if line[0] != "#"]
    assert listed == [[str(i), one["symbol"]] for i, one in enumerate(lines(ranked.out), 1)]
    tradebot("data", "fetch", "--symbol", "BTCUSDT", "--kinds", "candles", *DAYS)
    kept = tradebot(
        "data", "fetch", "--symbols-file", "candidates.txt", "--most-complete", "1", "--kinds", "candles", *DAYS
    )
    assert kept.code == 0
    chosen = (home / "candidates-most-complete.txt").read_text().splitlines()
    assert [line.split("\t")[:2] for line in chosen[2:]] == [["1", listed[0][1]]]
    assert "100.00%" in kept.out


def test_damage_is_found_and_repaired_by_asking_again(tradebot: Tradebot, exchange: str, home: Path) -> None:
    tradebot("data", "fetch", "--symbol", "SOLUSDT", *DAYS, "--kinds", "candles")
    file = home / "data/bitget/candle_5m/SOLUSDT/2025-10-08.parquet"
    file.write_bytes(file.read_bytes()[:-9])
    found = tradebot("data", "verify", "--json")
    assert found.code == 65
    assert [(one["date"], one["kind"]) for one in lines(found.out)] == [("2025-10-08", "damaged")]
    assert found.err.count("\n") == 1
    assert tradebot("data", "ls").code == 0
    mended = tradebot("data", "repair")
    assert (mended.code, mended.out) == (0, "bitget/candle_5m/SOLUSDT 2025-10-08: damaged repaired, 288 rows\n")
    assert tradebot("data", "verify").code == 0
    assert rows(Store(home / "data"), "SOLUSDT") == recorded("SOLUSDT", 1)
    assert "nothing to repair" in tradebot("data", "repair").err


def _fetching(url: str, home: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tradebot", "data", "fetch", "--symbol", "SOLUSDT", *DAYS, *QUICK, "--workers", "1"],
        cwd=home,
        env={**os.environ, "TRADEBOT_EXCHANGE__REST_URL": url, "TRADEBOT_EXCHANGE__RATE_LIMITED": "false"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize(("number", "code"), [(signal.SIGKILL, -9), (signal.SIGINT, 130)])
def test_a_fetch_that_is_killed_or_interrupted_is_gone_on_with(
    tradebot: Tradebot, home: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals, code: int
) -> None:
    # three of the five answers that three days take come at once: one or two of the days are there
    slow = {"delay": 2_000, "jitter": 0}
    fourth = Rule(kind="slow_rest", scope="rest", endpoint="history-candles", nth=4, parameters=slow)
    with running(WalkSource("SOLUSDT"), faults=Schedule(rules=(fourth,))) as url:
        process = _fetching(url, home)
        folder = home / "data/bitget/candle_5m/SOLUSDT"
        presently(lambda: list(folder.glob("*.parquet")))
        process.send_signal(number)
        _, err = process.communicate(timeout=20)
        assert process.returncode == code
        assert "Traceback" not in err
        if number == signal.SIGINT:
            assert "stopped; what is stored stays, the same command goes on" in err
        stored = len(list(folder.glob("*.parquet")))
        assert 0 < stored < 3
        monkeypatch.setenv("TRADEBOT_EXCHANGE__REST_URL", url)
        done = tradebot("data", "fetch", "--symbol", "SOLUSDT", *DAYS, *QUICK, "--json")
        assert (done.code, lines(done.out)[0]["problems"]) == (0, [])
    assert rows(Store(home / "data"), "SOLUSDT") == recorded("SOLUSDT", 1)
    assert tradebot("data", "verify").code == 0


def test_files_are_imported_and_arrays_go_out_and_come_back(tradebot: Tradebot, home: Path) -> None:
    (home / "in").mkdir()
    write(home / "in/bitget_SOLUSDT_perp_1s_l10.parquet", {n: c.to_pylist() for n, c in _books()})
    write(home / "in/binance_SOLUSDT_perp_5m.parquet", candles(288))
    taken = tradebot("data", "import", "in", "--json")
    assert [(one["series"], one["rows"], one["added"]) for one in lines(taken.out)] == [
        ("binance-perp/candle_5m/SOLUSDT", 288, 288),
        ("bitget/book_1s_l10/SOLUSDT", 300, 300),
    ]
    out = tradebot("data", "export", "--format", "deeplob-npy", "--symbol", "SOLUSDT", "--out", "arrays", "--json")
    assert (out.code, lines(out.out)[0]["rows"]) == (0, 300)
    back = tradebot("data", "import", "--format", "deeplob-npy", "arrays", "--root", "other")
    assert (back.code, back.out) == (
        0,
        "SOLUSDT_20260105_20260105.npy: bitget/book_1s_l10/SOLUSDT: 300 rows, 300 new\n",
    )
    assert Store(home / "other").read(*BOOKS).equals(Store(home / "data").read(*BOOKS))
    write(home / "in/binance_SOLUSDT_perp_5m.parquet", changed(candles(288), "volume", 3, 7.0))
    contradicting = tradebot("data", "import", "in")
    assert contradicting.code == 65
    assert "1 row unlike the stored, first at 2026-01-05 00:15:00 UTC" in contradicting.err
    assert tradebot("data", "import", "in", "--root", "memory://in-a-test").code == 0


def _books() -> list[tuple[str, Any]]:
    table = books(list(range(300)))
    return [(name, table[name]) for name in table.column_names]


@pytest.mark.parametrize(
    ("argv", "code", "line"),
    [
        ("fetch --symbol SOLUSDT --symbols-file x", 2, "give one of them"),
        ("fetch --most-complete 3", 2, "needs the --symbols-file"),
        ("fetch --symbols-file none.txt", 65, "none.txt: cannot be read (No such file or directory)"),
        ("fetch --kinds candle", 78, "data.kinds: expected a list of kinds (candles, mark, funding,"),
        ("fetch --venues okx", 78, "data.venues: expected a list of venues (bitget, binance-perp, binance-spot)"),
        ("fetch --venues binance-spot --kinds funding", 78, "nothing to fetch: binance-spot have no funding"),
        ("fetch --interval 7m", 78, "data.interval: expected one of"),
        ("fetch --from 2026-02-01 --to 2026-01-01", 78, "2026-02-01 is after data.end (2026-01-01)"),
        ("fetch --from yesterweek", 2, "'yesterweek' is not a time"),
        ("fetch --workers 21", 2, "'--workers'"),
        ("fetch --days 99999999999999", 2, "'--days'"),
        ("fetch --kinds ,", 2, "--kinds: names nothing"),
        ("fetch --venues ,", 2, "--venues: names nothing"),
        ("fetch --from 1800-01-01", 78, "1800-01-01 lies before bitget began (2018-01-01)"),
        ("fetch --root /dev/null/data", 65, "cannot make /dev/null/data"),
        ("fetch --kinds books", 78, "recorded books come from Tardis and need its key"),
        ("fetch --root nowhere://x", 78, "data root nowhere://x"),
        ("fetch", 69, "Bitget is not reachable"),
        ("symbols --top 0", 2, "'--top'"),
        ("symbols", 69, "Bitget is not reachable"),
        ("ls", 65, "nothing stored; get something with 'tradebot data fetch'"),
        ("verify", 65, "nothing stored"),
        ("repair --symbol NOPEUSDT", 65, "nothing stored"),
        ("verify --from 2026-02-01 --to 2026-01-01", 2, "--from lies after --to"),
        ("import none.parquet", 65, "none.parquet: no such file"),
        ("import x --layout levels", 2, "are for --format deeplob-npy"),
        ("export --format deeplob-npy --symbol SOLUSDT", 65, "bitget/book_1s_l10/SOLUSDT: nothing stored"),
        ("export --format csv --channel candles", 65, "'candles' is no channel"),
        ("export --format xls", 2, "'xls' is not one of"),
        ("pull someone/books", 65, "write hf:OWNER/NAME"),
    ],
)
def test_every_mistake_is_told_in_one_line_with_its_exit_code(
    tradebot: Tradebot, home: Path, monkeypatch: pytest.MonkeyPatch, argv: str, code: int, line: str
) -> None:
    monkeypatch.setenv("TRADEBOT_EXCHANGE__REST_URL", "http://127.0.0.1:1")
    monkeypatch.setattr("tradebot.exchange.bitget.http.ATTEMPTS", 1)
    told = tradebot("data", *argv.split())
    assert (told.code, told.out) == (code, "")
    assert line in told.err
    assert told.err.count("\n") == 1
    assert list(home.rglob("*.parquet")) == []


def test_a_filter_that_matches_nothing_is_told_and_not_taken_for_soundness(
    tradebot: Tradebot, exchange: str, home: Path
) -> None:
    assert tradebot("data", "fetch", "--symbol", "SOLUSDT", *DAYS, "--kinds", "candles").code == 0
    for command in ("ls", "verify", "repair"):
        told = tradebot("data", command, "--symbol", "NOPEUSDT", "--channel", "candle_5m")
        assert (told.code, told.out) == (65, "")
        assert "nothing stored matches --channel candle_5m --symbol NOPEUSDT" in told.err
    for days in (("--from", "2027-01-01"), ("--to", "2020-01-01")):
        told = tradebot("data", "verify", *days)
        assert told.code == 65
        assert "nothing stored matches these days" in told.err
    assert tradebot("data", "verify", "--from", "2020-01-01").code == 0


def test_days_of_which_the_source_has_no_row_count_apart(tradebot: Tradebot, home: Path) -> None:
    store, series = Store(home / "data"), ("bitget", "candle_5m", "SOLUSDT")
    table = pa.table(candles(288))
    store.write(*series, "2026-01-04", table.slice(0, 0), complete=True)
    store.write(*series, "2026-01-05", table, complete=True)
    (row,) = lines(tradebot("data", "ls", "--json").out)
    assert (row["days"], row["empty"], row["complete"], row["rows"]) == (1, 1, 2, 288)
    assert row["covered"] == 1.0


def test_a_symbol_the_exchange_does_not_have_is_told_and_the_others_are_fetched(
    tradebot: Tradebot, exchange: str, home: Path
) -> None:
    told = tradebot("data", "fetch", "--symbol", "NOPEUSDT", "SOLUSDT", *DAYS, "--kinds", "candles")
    assert told.code == 65
    assert "tradebot: bitget/candle_5m/NOPEUSDT: Bitget refused history-candles NOPEUSDT" in told.err
    assert "Traceback" not in told.err
    assert rows(Store(home / "data"), "SOLUSDT") == recorded("SOLUSDT", 1)


def test_without_the_hub_extra_one_line_tells_how_to_install_it(
    tradebot: Tradebot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    told = tradebot("data", "pull", "hf:someone/books")
    assert told.code == 78
    assert "this needs the package 'huggingface_hub'" in told.err
    assert "[hub]" in told.err


def test_the_examples_of_the_documentation_run(tradebot: Tradebot, exchange: str, home: Path) -> None:
    text = (Path(__file__).parents[2] / "docs/data.md").read_text()
    block = text.partition("## Try it offline")[2].partition("```sh\n")[2].partition("```")[0]
    commands = [line for line in block.splitlines() if line.startswith("tradebot data ")]
    assert len(commands) == 6
    for command in commands:
        assert tradebot(*command.split()[1:]).code == 0, command


def test_the_data_section_says_what_is_collected_and_its_mistakes_are_told_by_place(
    tradebot: Tradebot, exchange: str, home: Path
) -> None:
    section = "data:\n  start: 2025-10-08\n  end: 2025-10-09\n  kinds: [candles]\n  interval: 1h\n  root: elsewhere\n"
    (home / "config.yaml").write_text(section)
    assert tradebot("data", "fetch").code == 0
    assert Store(home / "elsewhere").read("bitget", "candle_1h", "SOLUSDT").num_rows == 48
    (home / "config.yaml").write_text(
        "data:\n  start: 8.10.2025\n  grid: 1500ms\n  depth: 26\n  workers: 0\n  tardis_key: secret\n"
    )
    told = tradebot("config", "check")
    assert told.code == 78
    for line in (
        "config.yaml:2:10: data.start: expected a date like 2026-01-05",
        "config.yaml:3:9: data.grid: expected whole seconds that divide a day",
        "config.yaml:4:10: data.depth: must be at most 25",
        "config.yaml:5:12: data.workers: must be at least 1",
        "config.yaml:6:3: data.tardis_key: a secret does not belong in a configuration file; put it into "
        "$CREDENTIALS_DIRECTORY/tardis_key or TRADEBOT_DATA__TARDIS_KEY",
    ):
        assert line in told.err
    assert "secret\n" not in told.err
