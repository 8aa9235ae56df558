"""``tradebot walkforward --model``: a forecaster walked from a terminal."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from tests.cli.conftest import Tradebot
from tests.training.market import candles, write_parquet

MARKET = candles(288 * 33, momentum=0.4)


@pytest.fixture
def market(home: Path) -> Path:
    return write_parquet(home / "venue_SOLUSDT_perp_5m.parquet", MARKET)


def asked(market: Path, out: str, *more: str) -> tuple[str, ...]:
    label = ("--set", "horizon=2", "--set", "spacing=2")
    spans = ("--days", "14", "--train", "6", "--test", "3d")
    return ("walkforward", "--model", "lorentzian-5m", "--data", str(market), *spans, *label,
            "--out", out, *more)  # fmt: skip


def test_a_forecaster_is_walked_told_and_kept(tradebot: Tradebot, home: Path, market: Path) -> None:
    done = tradebot(*asked(market, "walk", "--metric", "calmar_ratio", "--sizing", "--json"))
    assert done.code == 0, done.err
    found = json.loads(done.out.splitlines()[-1])
    assert (found["model"], found["symbol"], found["windows"], found["interval"]) == ("lorentzian", "SOLUSDT", 2, "5m")
    assert "window 2/2, eta 0s" in done.err
    assert "the sizing bandit" in done.err
    names = {path.name for path in (home / "walk").iterdir()}
    assert {"best_model_window_1.onnx", "best_model_window_2.onnx", "final_model.onnx", "window_metrics.csv"} <= names
    assert {"out_of_sample.parquet", "walk.json", "figures", "sizing.json"} <= names
    assert len(list(csv.DictReader((home / "walk" / "window_metrics.csv").open()))) == 2
    again = tradebot(*asked(market, "walk", "--metric", "calmar_ratio", "--json"))
    assert json.loads(again.out.splitlines()[-1]) == found
    assert "window 1/2" not in again.err  # nothing is done twice
    other = tradebot(*asked(market, "walk", "--metric", "win_rate"))
    assert (other.code, other.err.splitlines()[-1].count("another walk-forward")) == (78, 1)


def test_seeds_walks_and_likeness_side_by_side(tradebot: Tradebot, home: Path, market: Path) -> None:
    first = tradebot(*asked(market, "first"))
    assert first.code == 0, first.err
    seeds = tradebot(*asked(market, "seeds", "--seeds", "2", "--set", "k=20", "--with", "first", "--adversarial"))
    assert seeds.code == 0, seeds.err
    assert "2 seeds: Sharpe" in seeds.out
    assert "gain" in seeds.err
    for seed in ("seed-7", "seed-8"):
        stacking = json.loads((home / "seeds" / seed / "stacking.json").read_text())
        assert set(stacking["weights"]) == {seed, "first"}
        assert min(stacking["weights"].values()) >= 0
    window = json.loads((home / "seeds" / "seed-7" / "windows" / "w001.json").read_text())
    assert 0.5 <= window["drift_auc"] <= 1.0


def test_the_newest_windows_fit_is_put_before_the_gate(tradebot: Tradebot, home: Path, market: Path) -> None:
    done = tradebot(*asked(market, "walk", "--deploy", "--store", "models", "--json"))
    assert done.code in (0, 3), done.err
    result = json.loads(done.out.splitlines()[-1])
    assert result["version"] == "v0001"
    assert result["verdict"] in ("promoted", "refused")
    assert (home / "models" / "SOLUSDT" / "lorentzian-5m" / "v0001" / "model.onnx").exists()


@pytest.mark.parametrize(
    ("words", "code", "what"),
    [
        (("--metric", "luck"), 2, "luck"),
        (("--set", "depth"), 2, "KEY=VALUE"),
        (("--set", "depth=3"), 2, "no option 'depth'"),
        (("--lr", "0.1"), 2, "no --lr"),
        (("--days", "5"), 78, "5 days are too few"),
        (("--train", "36h"), 2, "whole days"),
        (("--train", "1", "--set", "horizon=144"), 65, "1 days of it are kept free"),
        (("--rule", "levels"), 78, "kind published"),
        (("--with", "nowhere"), 65, "out_of_sample.parquet: is not there"),
    ],
)
def test_what_cannot_be_is_one_line(
    tradebot: Tradebot, market: Path, words: tuple[str, ...], code: int, what: str
) -> None:
    done = tradebot(*asked(market, "walk", *words))
    assert done.code == code, done.err
    assert what in done.err.replace("\n", " ")
    assert "window 1/" not in done.err, "found only after the walk"


def test_only_a_forecasters_windows_expand(tradebot: Tradebot, home: Path, market: Path) -> None:
    begins = {}
    for out, flags in (("rolled", ()), ("expanded", ("--expanding",))):
        done = tradebot(*asked(market, out, *flags))
        assert done.code == 0, done.err
        windows = sorted((home / out / "windows").glob("w*.json"))
        begins[out] = [json.loads(path.read_text())["train_from_ms"] for path in windows]
    first, second = begins["rolled"]
    assert first < second
    assert begins["expanded"] == [first, first]
    done = tradebot("walkforward", "--data", str(market), "--out", "walk", "--expanding")
    assert (done.code, "--expanding is of --model" in done.err.replace("\n", " ")) == (2, True)
