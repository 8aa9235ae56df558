"""`tradebot train` and `tradebot evaluate`, from candles to figures."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Tradebot
from tests.training import market

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
    assert "direction_auc" in tradebot(*asked, str(later)).out


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


def test_a_fixed_rate_is_not_searched(tradebot: Tradebot, data: Path, home: Path) -> None:
    line = ("train", "--model", "lightgbm", "--all", "--data", str(data), "--out", "models", *SMALL)
    assert tradebot(*line, "--lr", "0.07", "--set", "horizon=1", "--set", "num_leaves=9").code == 0
    manifest = json.loads((home / "models/AAAUSDT/lightgbm-5m/v0001/manifest.json").read_text())
    assert manifest["lineage"]["params"]["learning_rate"] == 0.07
    assert manifest["lineage"]["params"]["num_leaves"] == 9
    assert manifest["options"]["horizon"] == 1
    assert manifest["horizon_ms"] == market.BAR_MS


def test_nothing_to_judge_is_one_line(tradebot: Tradebot, data: Path) -> None:
    asked = ("evaluate", "--model", "lightgbm", "--symbol", "AAAUSDT", "--out", "models", "--data")
    missing = tradebot(*asked, "nowhere.parquet")
    assert (missing.code, missing.err.count("\n")) == (2, 1)
    untrained = tradebot(*asked, str(data / "AAAUSDT.parquet"))
    assert untrained.code == 65
    assert "has no version of AAAUSDT/lightgbm-5m" in untrained.err
