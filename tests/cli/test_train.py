"""`tradebot train` and `tradebot evaluate`, from candles to figures."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from typer.main import get_command

from tests.cli.conftest import Tradebot
from tests.cli.test_data import running
from tests.sim.walk import START_MS, WalkSource
from tests.training import market
from tradebot.cli import training_options
from tradebot.cli.app import app
from tradebot.cli.times import iso
from tradebot.cli.train import STILL_S, Shown
from tradebot.forecasters.base import CandleColumns
from tradebot.jobs import JobProgress
from tradebot.market.candle import DAY_MS, Candle

SMALL = ("--trials", "1", "--rounds", "15")


@pytest.fixture
def data(home: Path) -> Path:
    folder = home / "data"
    folder.mkdir()
    market.write_parquet(folder / "AAAUSDT.parquet", market.candles(9_000, momentum=0.6, seed=3))
    return folder


def test_a_version_is_trained_and_judged_on_rows_it_never_saw(tradebot: Tradebot, data: Path, home: Path) -> None:
    done = tradebot("train", "--model", "lightgbm", "--all", "--data", str(data), "--out", "models", *SMALL, "--json")
    row, last = (json.loads(line) for line in done.out.splitlines())
    assert (done.code, row["symbol"], row["status"], row["version"]) == (0, "AAAUSDT", "provisional", "v0001")
    assert last["counts"] == {"provisional": 1}
    later = market.write_parquet(home / "later.parquet", market.candles(8_000, momentum=0.6, seed=9))
    asked = ("evaluate", "--model", "lightgbm", "--symbol", "AAAUSDT", "--out", "models", "--data")
    judged = tradebot(*asked, str(later), "--json")
    assert judged.code == 0
    found = json.loads(judged.out.splitlines()[-1])
    assert list(found) == ["model", "version", "symbol", "rows", "from", "to", "metrics"]
    assert (found["model"], found["version"], found["symbol"]) == ("lightgbm", "v0001", "AAAUSDT")
    for figure in found["metrics"].values():
        assert list(figure) == ["value", "low", "high", "baseline"]
    direction = found["metrics"]["direction_auc"]
    assert 0.6 < direction["low"] < direction["value"] < direction["high"]
    assert {"move_auc", "decided_accuracy", "log_loss_skill", "net_bp_per_trade", "trades", "mase", "mape",
            "mape_persistence", "skill_vs_persistence", "direction_accuracy"} <= found["metrics"].keys()  # fmt: skip
    assert "another market" not in judged.err
    foreign = tradebot(
        *asked, str(market.write_parquet(home / "x_BBBUSDT_perp_5m.parquet", market.candles(8_000))), "--json"
    )
    assert (foreign.code, json.loads(foreign.out)["symbol"]) == (0, "AAAUSDT")
    assert "candles of BBBUSDT; AAAUSDT/lightgbm-5m is judged on another market than it was made for" in foreign.err
    same = tradebot(*asked, str(data / "AAAUSDT.parquet"), "--json")
    assert "figures on them flatter it" in same.err
    fresh = tradebot(*asked, str(data / "AAAUSDT.parquet"), "--unseen", "--json")
    assert "flatter" not in fresh.err
    assert json.loads(fresh.out)["rows"] < json.loads(same.out)["rows"]
    shown = {words[0]: words for words in (line.split() for line in tradebot(*asked, str(later)).out.splitlines())}
    assert shown["rows"] == ["rows", f"{found['rows']:,}", "count"]
    assert shown["decided_accuracy"][5] == "share"


def test_without_a_terminal_each_stage_is_told_and_a_long_one_again(capsys: pytest.CaptureFixture[str]) -> None:
    at = [0.0]
    steps = [
        (5.0, "data", 0),
        (9.0, "tune", 1),
        (8.0 + STILL_S, "tune", 2),
        (9.0 + STILL_S, "tune", 7),
        (40.0, "fit", 0),
    ]
    job = SimpleNamespace(id="a", symbol="AAAUSDT")
    with Shown(clock=lambda: at[0]) as shown:
        for at[0], stage, done in steps:
            step = JobProgress(stage=stage, done=done, total=9, message="", elapsed_s=1.0, eta_s=90.0)  # type: ignore[arg-type]
            shown.step(job, step, 0, 3, None)  # type: ignore[arg-type]
    told = capsys.readouterr().err.splitlines()
    assert [line.split()[2] for line in told] == ["data", "tune", "tune", "fit"]
    assert told[2].startswith("0/3 AAAUSDT: tune 7/9")
    assert told[2].endswith("eta 1m30s")


def test_which_file_is_taken_what_lies_beside_it_and_what_nobody_recorded_stays_on_stderr(
    tradebot: Tradebot, home: Path
) -> None:
    """Of two exchanges the file that reaches further is taken, and it is the one without BTC beside it."""
    folder = home / "data"
    folder.mkdir()
    whole = market.candles(9_000, momentum=0.6, seed=3)
    older = whole.where(np.arange(len(whole)) < 8_900)
    market.write_parquet(folder / "y_AAAUSDT_perp_5m.parquet", whole)
    near = {"x_AAAUSDT_perp_5m": older, "x_BTCUSDT_perp_5m": whole}
    for name, candles in near.items():
        market.write_parquet(folder / f"{name}.parquet", candles)
    line = ("--model", "lightgbm", "--symbol", "AAAUSDT", "--out", "models", "--data")
    apart = tradebot("train", *line, str(folder), *SMALL)
    assert apart.code == 0, apart.err
    taken = f"AAAUSDT: candles of {folder / 'y_AAAUSDT_perp_5m.parquet'}"
    assert apart.err.splitlines()[0] == taken
    assert "beside" not in apart.err
    (lacking,) = [said for said in apart.err.splitlines() if "nobody recorded" in said]
    assert lacking.startswith("AAAUSDT: nobody recorded what these features are made of; they had no value: ")
    assert "btc" in lacking
    assert taken in tradebot("evaluate", *line, str(folder)).err.splitlines()
    named = tradebot("train", *line, str(folder / "x_AAAUSDT_perp_5m.parquet"), *SMALL)
    beside = f"BTCUSDT beside AAAUSDT: {folder / 'x_BTCUSDT_perp_5m.parquet'}"
    assert named.err.splitlines().count(beside) == 1
    (lacking,) = [said for said in named.err.splitlines() if "nobody recorded" in said]
    assert "btc" not in lacking
    assert "candles of" not in named.err


def test_what_is_said_of_a_symbol_s_data_stays(capsys: pytest.CaptureFixture[str]) -> None:
    job = SimpleNamespace(id="a", symbol="AAAUSDT")
    notes: tuple[str, ...] = ("BTCUSDT beside AAAUSDT: b", "funding is left out: f")
    with Shown(clock=lambda: 0.0) as shown:
        for stage, message, said in (("data", notes[0], notes[:1]), ("fit", "9 rows", notes)):
            step = JobProgress(stage=stage, done=0, total=1, message=message, elapsed_s=1.0, notes=said)  # type: ignore[arg-type]
            shown.step(job, step, 0, 1, None)  # type: ignore[arg-type]
    assert capsys.readouterr().err.splitlines() == [
        "BTCUSDT beside AAAUSDT: b", "0/1 AAAUSDT: data", "AAAUSDT: funding is left out: f", "0/1 AAAUSDT: fit  9 rows"
    ]  # fmt: skip


def test_what_would_be_trained_is_listed_without_training(tradebot: Tradebot, data: Path, home: Path) -> None:
    done = tradebot("train", "--model", "lightgbm", "--all", "--data", str(data), "--list-only", "--json")
    assert [json.loads(line)["symbol"] for line in done.out.splitlines()] == ["AAAUSDT"]
    listed = home / "symbols.txt"
    listed.write_text("# mine\nXUSDT\nYUSDT\n")
    named = tradebot("train", "--symbols-file", str(listed), "--list-only").out.splitlines()
    assert [line.split()[0] for line in named] == ["XUSDT", "YUSDT"]
    assert not (home / "state").exists()


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--set", "horizont=3"), "lightgbm has no option 'horizont'; it has: horizon,"),
        (("--set", "horizon"), "write it as KEY=VALUE"),
        (("--set", "horizon=9"), "horizon"),
        (("--epochs", "3"), "say --rounds instead of --epochs"),
        (("--batch-size", "3"), "lightgbm has no --batch-size; it has:"),
        (("--set", "num_leaves=-5"), "num_leaves is a number from 0 on, like 15, not -5"),
        (("--set", "learning_rate=nan"), "learning_rate is a number from 0 on"),
        (("--device", "cuda"), "fitted on the CPU"),
        (("--symbol", "AAAUSDT"), "give one of them"),
    ],
)
def test_an_option_the_family_does_not_have_is_a_usage_error(
    tradebot: Tradebot, data: Path, flags: tuple[str, ...], said: str
) -> None:
    done = tradebot("train", "--model", "lightgbm", "--all", "--data", str(data), *flags)
    assert done.code == 2
    assert said in done.err
    assert done.err.count("\n") == 1


def test_a_symbol_that_cannot_be_one_is_told_before_anything_is_read(tradebot: Tradebot, data: Path) -> None:
    for symbol in ("", "../up"):
        done = tradebot("train", "--model", "lightgbm", "--symbol", symbol, "--data", str(data / "AAAUSDT.parquet"))
        assert (done.code, done.err.count("\n")) == (65, 1)
        assert "cannot be part of a model's name" in done.err


def test_a_fixed_rate_is_not_searched(tradebot: Tradebot, data: Path, home: Path) -> None:
    line = ("train", "--model", "lightgbm", "--all", "--data", str(data), "--out", "models", *SMALL)
    assert tradebot(*line, "--lr", "0.07", "--set", "horizon=1", "--set", "num_leaves=9").code == 0
    manifest = json.loads((home / "models/AAAUSDT/lightgbm-5m/v0001/manifest.json").read_text())
    assert manifest["lineage"]["params"]["learning_rate"] == 0.07
    assert manifest["lineage"]["params"]["num_leaves"] == 9
    assert manifest["options"]["horizon"] == 1
    assert manifest["horizon_ms"] == market.BAR_MS


def test_candles_that_cannot_be_read_are_a_line_in_the_summary(tradebot: Tradebot, data: Path, home: Path) -> None:
    whole = market.candles(2_000, seed=4)
    holes = np.arange(2_000) % 7 > 0
    columns = {name: getattr(whole, name)[holes] for name in ("open_ms", "open", "high", "low", "close", "volume")}
    (data / "AAAUSDT.parquet").unlink()
    market.write_parquet(data / "GAPSUSDT.parquet", CandleColumns(**columns))
    (data / "TORNUSDT.parquet").write_bytes(b"PAR1 and no more")
    done = tradebot("train", "--model", "lightgbm", "--all", "--data", str(data), "--out", "models", *SMALL, "--json")
    reasons = {row["symbol"]: row["reason"] for row in map(json.loads, done.out.splitlines()) if "symbol" in row}
    assert done.code == 65
    assert "gaps (285 missing candles)" in reasons["GAPSUSDT"]
    assert "TORNUSDT.parquet" in reasons["TORNUSDT"]
    summary = json.loads((home / "models/training_summary.json").read_text())
    assert {name: row["exit_code"] for name, row in summary["symbols"].items()} == {"GAPSUSDT": 65, "TORNUSDT": 65}
    again = tradebot("train", "--symbol", "TORNUSDT", "--data", str(data), "--out", "models", *SMALL)
    assert again.out.splitlines()[-1] == "1 failed"


def test_the_newest_rows_are_judged_and_what_changes_nothing_is_told(
    tradebot: Tradebot, data: Path, home: Path
) -> None:
    line = ("--model", "lightgbm", "--out", "models", "--data", str(data))
    assert tradebot("train", "--all", *line, *SMALL, "--set", "horizon=1").code == 0
    asked = ("evaluate", "--symbol", "AAAUSDT", *line, "--json")

    def rows(*more: str) -> int:
        return int(json.loads(tradebot(*asked, *more).out.splitlines()[-1])["rows"])

    everything = rows()
    assert rows("--days", "3") == 3 * 288
    few = tradebot(*asked, "--days", "3")
    assert "the rows last 3 days, 3.0 stretches that may count as independent" in few.err
    hours = tradebot(*asked, "--test-size", "0.005")
    assert "days, less than one stretch that may count as independent (1 days): neither" in hours.err
    assert list(json.loads(few.out.splitlines()[-1])) == [
        "model", "version", "symbol", "rows", "from", "to", "metrics"
    ]  # fmt: skip
    assert "independent" not in tradebot(*asked).err
    assert abs(rows("--test-size", "0.25") - everything / 4) < 2
    assert rows("--set", "horizon=1", "--seed", "3", "--jobs", "2", "--device", "cpu") == everything
    told = tradebot(*asked, "--epochs", "3", "--lr", "0.1", "--batch-size", "8", *SMALL)
    assert "evaluate fits nothing: --epochs, --lr, --batch-size, --trials, --rounds change nothing" in told.err
    other = tradebot(*asked, "--set", "horizon=3")
    assert (other.code, other.err.count("\n")) == (78, 1)
    assert "v0001 was made with horizon=1, not 3" in other.err
    unknown = tradebot(*asked, "--set", "horizont=3")
    assert (unknown.code, unknown.err.count("\n")) == (78, 1)


SHARED = ("--days", "--test-size", "--epochs", "--lr", "--batch-size", "--trials", "--rounds", "--jobs", "--seed",
          "--device", "--data", "--out", "--set")  # fmt: skip


@pytest.mark.parametrize("command", ["train", "retrain", "walkforward", "evaluate", "backtest"])
def test_five_commands_share_their_options(command: str) -> None:
    found = get_command(app).commands[command]  # type: ignore[attr-defined]
    names = {name: option for option in found.params for name in option.opts}
    assert set(SHARED) <= names.keys()
    assert names["--jobs"].envvar == "N_JOBS"


def test_learning_from_all_symbols_is_compared_and_nothing_is_stored(
    tradebot: Tradebot, data: Path, home: Path
) -> None:
    market.write_parquet(data / "BBBUSDT.parquet", market.candles(9_000, momentum=0.6, seed=4))
    (data / "CCCUSDT.parquet").write_bytes(b"torn")
    whole = market.candles(9_000, momentum=0.6, seed=5)
    market.write_parquet(data / "EARLYUSDT.parquet", whole.where(np.arange(9_000) < 9_000 - 3 * 288))
    asked = ("train", "--model", "lightgbm", "--all", "--data", str(data), "--out", "models", "--transfer", "--json")
    done = tradebot(*asked, "--rounds", "20")
    assert done.code == 0, done.err
    first, second, last = (json.loads(line) for line in done.out.splitlines())
    assert [first["symbol"], second["symbol"], last["symbols"]] == ["AAAUSDT", "BBBUSDT", 2]
    for row in (first, second):
        assert 0.3 < row["own_loss"] < 1.2
        assert 0.3 < row["rates_loss"] < 1.2
        for name, less, more in (("gain", "pooled", "own"), ("head_gain", "pooled_head", "own_head")):
            gain = row[name]
            assert gain["value"] == pytest.approx(row[f"{more}_loss"] - row[f"{less}_loss"])
            assert gain["low"] < gain["value"] < gain["high"]
    for name in ("gain", "head_gain"):
        assert last[name]["value"] == pytest.approx((first[name]["value"] + second[name]["value"]) / 2)
        assert last[name]["low"] < last[name]["value"] < last[name]["high"]
    newest = training_options.end_of(data, ["BBBUSDT"], "5m")
    assert last["to"][:13] == iso(newest - market.BAR_MS)[:13]
    assert last["from"] < last["to"]
    assert "CCCUSDT is left out: " in done.err
    assert "EARLYUSDT is left out: its candles end at 20" in done.err
    assert "3.0 days before the job's moment" in done.err
    assert "in one process: --out changes nothing" in done.err
    assert not (home / "models").exists()
    one = ("train", "--data", str(data), "--transfer", "--symbol", "AAAUSDT")
    alone = tradebot(*one, "CCCUSDT", "--parallel", "4", "--trials", "3")
    assert (alone.code, "two are the least" in alone.err) == (65, True)
    assert "in one process: --trials, --parallel change nothing" in alone.err
    single = tradebot(*one)
    assert (single.code, single.err.count("\n"), "give --all or more symbols" in single.err) == (2, 1, True)
    nowhere = tradebot("train", "--symbol", "AAAUSDT", "--transfer")
    assert (nowhere.code, "give --data" in nowhere.err.replace("\n", " ")) == (2, True)


def test_nothing_to_judge_is_one_line(tradebot: Tradebot, data: Path) -> None:
    asked = ("evaluate", "--model", "lightgbm", "--symbol", "AAAUSDT", "--out", "models", "--data")
    missing = tradebot(*asked, "nowhere.parquet")
    assert (missing.code, missing.err.count("\n")) == (2, 1)
    untrained = tradebot(*asked, str(data / "AAAUSDT.parquet"))
    assert untrained.code == 65
    assert "has no version of AAAUSDT/lightgbm-5m" in untrained.err


class LongSource(WalkSource):
    """A market with a month behind it; of a delisted one the last days are missing."""

    def __init__(self, symbol: str, *, seed: int, gone_ms: int = 0) -> None:
        self._made, self._gone_ms = market.candles(9_000, momentum=0.6, seed=seed), gone_ms
        super().__init__(symbol)

    def _history(self) -> list[Candle]:
        made = self._made
        times = (made.open_ms + START_MS - market.end_ms(made)).tolist()
        columns = (made.open, made.high, made.low, made.close, made.volume, made.volume * made.close)
        rows = zip(times, *(column.tolist() for column in columns), strict=True)
        return [Candle(*row) for row in rows if row[0] < START_MS - self._gone_ms]


def test_candles_are_downloaded_and_what_cannot_be_had_stops_nobody(
    tradebot: Tradebot, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One symbol in order, one delisted in the middle of the time asked for, one that the exchange does not know."""
    sources = (LongSource("AAAUSDT", seed=3), LongSource("GONEUSDT", seed=4, gone_ms=12 * DAY_MS))
    asked = ("train", "--model", "lightgbm", "--symbol", "AAAUSDT", "GONEUSDT", "NOPEUSDT", "--out", "models", "--days",
             "32", "--as-of", "2025-10-10", *SMALL, "--json")  # fmt: skip
    with running(*sources) as url:
        monkeypatch.setenv("TRADEBOT_EXCHANGE__REST_URL", url)
        done = tradebot(*asked)
    *rows, last = (json.loads(line) for line in done.out.splitlines())
    found = {row["symbol"]: row for row in rows}
    assert found["AAAUSDT"]["status"] == "provisional", found["AAAUSDT"]["reason"]
    assert (found["GONEUSDT"]["status"], found["GONEUSDT"]["exit_code"]) == ("failed", 65)
    assert "its candles end at 2025-09-28" in found["GONEUSDT"]["reason"]
    assert "delisted" in found["GONEUSDT"]["reason"]
    assert found["NOPEUSDT"]["status"] == "failed"
    assert "is NOPEUSDT listed? 'tradebot data symbols' shows what is" in found["NOPEUSDT"]["reason"]
    assert found["NOPEUSDT"]["exit_code"] == 65
    assert (done.code, last["counts"]) == (65, {"failed": 2, "provisional": 1})
    assert "download 5/5" in done.err
    summary = json.loads((home / "models/training_summary.json").read_text())
    assert {name: row["reason"] for name, row in summary["symbols"].items()} == {
        name: row["reason"] for name, row in found.items()
    }
    with running(*sources, LongSource("NOPEUSDT", seed=5)) as url:  # listed since
        plan = home / "models/.training/plan.json"
        plan.write_text(re.sub(r"http://127.0.0.1:\d+", url, plan.read_text()))
        again = tradebot(*asked, "--resume")
    statuses = {row["symbol"]: row.get("status") for row in map(json.loads, again.out.splitlines()) if "symbol" in row}
    assert statuses == {"AAAUSDT": "provisional", "GONEUSDT": "failed", "NOPEUSDT": "provisional"}
    assert "1 of 3 symbols are done already" in again.err
    assert "going on with the training on candles up to 2025-10-10 00:00:00; without --resume newer" in again.err
    assert json.loads(again.out.splitlines()[-1])["as_of"] == "2025-10-10 00:00:00"
