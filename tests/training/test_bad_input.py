"""Whatever is wrong with the candles, the machine or the search: one line, the right exit code, the champion serves."""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import lightgbm
import msgspec
import numpy as np
import pytest

from tests.training import market
from tradebot.forecasters.base import CandleColumns
from tradebot.jobs import JobResult, ParquetSource, RetrainJob
from tradebot.registry import ModelKey, ModelStore
from tradebot.training import retrain
from tradebot.training.runner import run_job

COUNT = 7_000
GOOD = market.candles(COUNT, momentum=0.6, seed=2)
KEY = ModelKey("SOLUSDT", "lightgbm", "5m")
NET = {"hidden": 4, "layers": 1, "steps": 4}


def kept(columns: CandleColumns, rows: slice) -> CandleColumns:
    names = ("open_ms", "open", "high", "low", "close", "volume")
    return CandleColumns(**{name: getattr(columns, name)[rows] for name in names})


def asked(columns: CandleColumns, folder: Path, store: Path, **changes: object) -> RetrainJob:
    path = market.write_parquet(folder / "SOLUSDT.parquet", columns)
    made = RetrainJob(
        id="a", symbol="SOLUSDT", model="lightgbm", as_of_ms=market.end_ms(GOOD), declared_ms=0, days=60,
        source=ParquetSource(path=str(path)), store=str(store), trials=1, rounds=15, allow_provisional=True,
    )  # fmt: skip
    return msgspec.structs.replace(made, **changes)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store in which a champion serves."""
    folder = tmp_path_factory.mktemp("store")
    result = run_job(asked(GOOD, tmp_path_factory.mktemp("data"), folder))
    assert result.promoted, result.reason
    return folder


@pytest.fixture(autouse=True)
def untouched(store: Path) -> Iterator[None]:
    """Nothing in the store changes, and nothing is added."""
    before = {path: path.read_bytes() for path in store.rglob("*") if path.is_file()}
    yield
    assert {path: path.read_bytes() for path in store.rglob("*") if path.is_file()} == before
    champion = ModelStore(store).champion(KEY)
    assert champion is not None
    ModelStore(store).verify(KEY, champion.version)


FLAT = np.ones(COUNT)
BAD = {
    "too little": (kept(GOOD, slice(COUNT - 300, COUNT)), "300 candles, at least 1000 are needed"),
    "too little to judge on": (kept(GOOD, slice(COUNT - 2_100, COUNT)), "use more days"),
    "constant": (replace(GOOD, open=FLAT, high=FLAT, low=FLAT, close=FLAT), "the price never moved in"),
    "empty feature": (replace(GOOD, volume=np.zeros(COUNT)), "has no value in any of"),
    "one class": (market.candles(COUNT, sigma=1e-6), "labels are moves beyond the threshold"),
    "delisted": (kept(GOOD, slice(0, COUNT - 3 * 288)), "3.0 days before the job's moment: delisted"),
    "infinite": (replace(GOOD, close=np.where(np.arange(COUNT) == 9, np.inf, GOOD.close)), "not finite"),
}


@pytest.mark.parametrize("model", ["lightgbm", "bilstm"])
@pytest.mark.parametrize(("columns", "said"), BAD.values(), ids=list(BAD))
def test_candles_that_nothing_can_be_learnt_from_are_one_line(
    store: Path, tmp_path: Path, model: str, columns: CandleColumns, said: str
) -> None:
    if model == "bilstm":
        pytest.importorskip("torch")
    options = NET if model == "bilstm" else {}
    told(run_job(asked(columns, tmp_path, store, model=model, interval="5m", options=options)), said, 65)


def told(result: JobResult, said: str, code: int) -> None:
    assert (result.verdict, result.exit_code, result.promoted) == ("failed", code, False), result.reason
    assert said in result.reason
    assert "\n" not in result.reason
    assert "unforeseen" not in result.reason


def test_a_loss_that_is_no_number_is_one_line(store: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    result = run_job(asked(GOOD, tmp_path, store, model="bilstm", interval="5m", options=NET, epochs=1, lr=1e30))
    told(result, "loss", 65)


def test_a_study_that_another_process_works_on_is_one_line(store: Path, tmp_path: Path) -> None:
    job = asked(GOOD, tmp_path, store, trials=2)
    (tmp_path / "search").mkdir()
    with (tmp_path / "search" / "study.lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        told(run_job(job, work=tmp_path), "is in use by another process", 75)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError,
        lambda: lightgbm.basic.LightGBMError("std::bad_alloc"),
        lambda: RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 4e14 bytes."),
        lambda: RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        lambda: RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    ],
)
def test_memory_that_runs_out_is_one_line(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Callable[[], Exception]
) -> None:
    def short(*arguments: object, **options: object) -> object:
        raise error()

    monkeypatch.setattr(retrain, "tune", short)
    told(run_job(asked(GOOD, tmp_path, store, trials=2)), "out of memory; use fewer --days, a smaller --batch-size", 75)
