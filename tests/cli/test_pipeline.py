"""`tradebot pipeline bilstm`: real trainings of a tiny net, the embedded exchange, a Hub on this machine."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

from tests.cli.conftest import Tradebot
from tests.cli.test_data import running
from tests.registry.fake_hub import TOKEN, running_hub
from tests.sim.walk import WalkSource
from tests.training.market import candles, write_parquet
from tradebot.data.store import Store
from tradebot.forecasters.base import CandleColumns
from tradebot.registry import ModelKey, ModelStore

BILSTM = ("pipeline", "bilstm")
BATCH = ("--set", "batch_size=64", "--set", "learning_rate=0.002")
"""Parameters of a fit, which the search of a training would choose."""
TINY = ("--set", "hidden=4", "--set", "layers=1", "--set", "steps=4", "--candles", "3000", "--store", "models")
"""A net that is fitted in a second."""


def recorded(folder: Path, symbol: str, count: int) -> Path:
    """Quarter-hour candles in which the last move tells something of the next."""
    made = candles(count, momentum=0.25, sigma=0.0025, seed=3)
    quarter = CandleColumns(
        open_ms=made.open_ms[0] + 900_000 * np.arange(count, dtype=np.int64),
        open=made.open,
        high=made.high,
        low=made.low,
        close=made.close,
        volume=made.volume,
    )
    folder.mkdir(exist_ok=True)
    return write_parquet(folder / f"venue_{symbol}_perp_15m.parquet", quarter)


def results(home: Path) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = json.loads((home / "models/training_results.json").read_text())
    return found


def test_a_training_before_anything_is_fetched_is_no_success(tradebot: Tradebot) -> None:
    done = tradebot(*BILSTM, "train", "--coins", "BTC", "--intervals", "1h")
    assert done.code == 65
    assert "nothing has been fetched yet; first: tradebot pipeline bilstm fetch" in done.err


def test_train_goes_past_what_fails_is_resumed_extended_and_uploaded(
    tradebot: Tradebot, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded(home / "data", "SOLUSDT", 3000)
    recorded(home / "data", "BTCUSDT", 300)
    train = (*BILSTM, "train", "--coins", "BTC,FTM,SOL", "--intervals", "15m", "--data", "data", *TINY)

    done = tradebot(*train, "--epochs", "1")
    assert done.code == 65
    after = results(home)
    assert after["FTMUSDT_15m"]["status"] == "skipped"
    assert after["FTMUSDT_15m"]["reason"] == "data has no FTMUSDT: FTM is called S now (--coins S)"
    assert after["BTCUSDT_15m"]["status"] == "failed"
    assert "candles" in after["BTCUSDT_15m"]["reason"]
    sol = after["SOLUSDT_15m"]
    assert sol["status"] == "success", sol["reason"]
    assert (sol["status"], sol["version"], sol["best_epoch"], sol["total_epochs"]) == ("success", "v0001", 1, 1)
    assert 0 < sol["val_mape"] < 1
    assert sol["figures"]["mase"]["low"] <= sol["figures"]["mase"]["value"] <= sol["figures"]["mase"]["high"]
    assert 0 < sol["figures"]["direction_accuracy"]["low"] < sol["figures"]["direction_accuracy"]["high"] < 1
    assert "SOLUSDT_15m  success  v0001    1/1" in done.out

    again = tradebot(*train, "--epochs", "1", "--resume")
    assert "3/3 SOLUSDT_15m: done before" in again.err
    assert results(home)["SOLUSDT_15m"] == sol

    longer = tradebot(*train, "--epochs", "3", "--resume", "--json")
    assert "fit 2/3" in longer.err
    assert "fit 1/3" not in longer.err  # the first epoch was not trained again
    told = {entry["pair"]: entry["result"] for entry in map(json.loads, longer.out.splitlines())}
    assert told == results(home)
    assert (told["SOLUSDT_15m"]["total_epochs"], told["SOLUSDT_15m"]["version"]) == (3, "v0002")
    history = json.loads(
        ModelStore(home / "models").files(ModelKey("SOLUSDT", "bilstm", "15m"), "v0002")["history.json"]
    )
    assert len(history["rounds"]) == 3

    upload = (*BILSTM, "upload", "--coins", "BTC,SOL", "--intervals", "15m", "--store", "models")
    assert tradebot(*upload).code == 2  # no repository is named
    assert tradebot(*upload, "--repo", "someone/models").code == 77  # no token
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert tradebot(*BILSTM, "token").code == 0
    monkeypatch.setattr("huggingface_hub.utils._http.time", SimpleNamespace(sleep=lambda s: None, time=time.time))
    with running_hub() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        sent = tradebot(*upload, "--repo", "someone/models")
        assert sent.code == 0, sent.err
        (repo,) = hub.repos.values()
        assert json.loads(repo.files["training_results.json"]) == results(home)
        assert any(path.startswith("SOLUSDT/bilstm-15m/v000") for path in repo.files)
        assert not any(path.startswith("BTCUSDT") for path in repo.files)


def test_ctrl_c_leaves_a_pair_interrupted_and_says_how_to_go_on(tradebot: Tradebot, home: Path) -> None:
    recorded(home / "data", "SOLUSDT", 3000)

    def press() -> None:
        while not list(home.rglob("*.ckpt")):  # the fit has ended an epoch
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=press, daemon=True).start()
    done = tradebot(
        *BILSTM, "train", "--coins", "SOL,BTC", "--intervals", "15m", "--data", "data", *TINY,
        "--set", "patience=99999", "--epochs", "99999",
    )  # fmt: skip
    assert done.code == 130
    assert "the same command with --resume goes on" in done.err
    assert results(home)["SOLUSDT_15m"]["status"] == "interrupted"
    assert "BTCUSDT_15m" not in results(home)
    assert ModelStore(home / "models").keys() == []


def test_check_and_fetch_against_an_exchange(tradebot: Tradebot, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with running(WalkSource("SOLUSDT"), WalkSource("BTCUSDT", seed=2)) as url:
        monkeypatch.setenv("TRADEBOT_EXCHANGE__REST_URL", url)
        monkeypatch.setenv("TRADEBOT_EXCHANGE__RATE_LIMITED", "false")
        which = ("--coins", "SOL,MATIC,BTC,LUNA", "--intervals", "15m", "--candles", "1500", "--data", "store")
        check = tradebot(*BILSTM, "check", *which)
        assert check.code == 0, check.err
        assert "skipped: the exchange has no MATICUSDT: MATIC is called POL now (--coins POL)" in check.err
        assert "skipped: the exchange has no LUNAUSDT: delisted, or never listed" in check.err
        assert "2 coins at the exchange" in check.err
        fetched = tradebot(*BILSTM, "fetch", *which)
        assert fetched.code == 0, fetched.err
        for symbol in ("SOLUSDT", "BTCUSDT"):
            assert Store("store").read("bitget", "candle_15m", symbol).num_rows >= 3 * 96
        nothing = tradebot(*BILSTM, "check", "--coins", "FTM", "--data", "store")
        assert nothing.code == 65
        assert "has none of these coins" in nothing.err


@pytest.mark.parametrize(
    ("argv", "code", "said"),
    [
        (("sell",), 2, "'sell' is no step; choose one of check, fetch, train, token, upload"),
        (("train", "--intervals", "7m"), 2, "--intervals: 7m is no interval"),
        (("train", "--coins", "BTC/ETH"), 2, "--coins: BTC/ETH"),
        (("train", "--set", "hidden"), 2, "--set hidden: write it as KEY=VALUE"),
        (("check", "--set", "width=3"), 78, "bilstm has no option 'width'"),
        (("check", "--set", "size=tiny"), 78, "bilstm: option size: 'tiny' is none of full, small"),
        (("check", "--set", "batch_size=many"), 78, "bilstm: batch_size is like 32, not 'many'"),
        (("check", "--device", "tpu"), 2, "'tpu' is not one of 'auto', 'cpu', 'cuda'"),
        (("upload",), 2, "--repo OWNER/NAME"),
        (("token",), 77, "no token of the HuggingFace Hub"),
    ],
)
def test_what_makes_no_sense_is_one_line(
    tradebot: Tradebot, home: Path, monkeypatch: pytest.MonkeyPatch, argv: tuple[str, ...], code: int, said: str
) -> None:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    done = tradebot(*BILSTM, *argv)
    assert done.code == code
    assert said in done.err
    assert len(done.err.splitlines()) == 1


def test_threads_are_those_of_the_environment_as_in_every_training(
    tradebot: Tradebot, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded(home / "data", "SOLUSDT", 300)
    monkeypatch.setenv("N_JOBS", "3")
    which = ("--coins", "SOL", "--intervals", "15m", "--data", "data")
    for more, told in (
        ((), "3 thread"),
        (("--jobs", "2"), "2 thread"),
        (("--set", "eta-min=1e-5"), "3 thread"),
        (BATCH, "3 thread"),
    ):
        done = tradebot(*BILSTM, "check", *which, *more)
        assert told in done.err, done.err


def test_a_damaged_results_file_is_one_line(tradebot: Tradebot, home: Path) -> None:
    (home / "models").mkdir()
    (home / "models/training_results.json").write_text('{"BTCUSDT_15m": 3}')
    done = tradebot(*BILSTM, "train", "--store", "models", "--data", "data")
    assert done.code == 65
    assert "training_results.json: is no results file" in done.err
