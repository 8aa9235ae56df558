"""The family ``lorentzian`` through the pipeline, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.training.advanced.made_up import sample as made_up
from tests.training.market import candles, days, end_ms, write_parquet
from tradebot.errors import ConfigError, DataError
from tradebot.forecasters.base import Sample, family
from tradebot.forecasters.lorentzian_indicator import INPUTS, indicator_inputs
from tradebot.jobs import JobProgress, ParquetSource, RetrainJob
from tradebot.registry import ModelKey, ModelStore
from tradebot.serving.forecaster import load_forecaster
from tradebot.training.advanced.transfer import pooled
from tradebot.training.dataset import build_dataset
from tradebot.training.progress import Progress
from tradebot.training.retrain import retrain
from tradebot.training.splits import split_by_time

MARKET = candles(9_000)


def quiet(step: JobProgress) -> None:
    assert step.message is not None


@pytest.fixture(scope="module")
def sample() -> Sample:
    return build_dataset(family("lorentzian", {}, "5m"), MARKET).sample


def test_its_inputs_are_the_indicators_before_their_rescaling() -> None:
    kind = family("lorentzian", {}, "5m")
    rows, usable = kind.rows(MARKET)
    ours = indicator_inputs(MARKET.high, MARKET.low, MARKET.close)
    late = usable & (np.arange(len(MARKET)) > 5_000)  # the least and greatest so far have settled
    for j, name in enumerate(INPUTS):
        column = rows[late, kind.features.index(name)].astype(np.float64)
        assert np.corrcoef(column, ours[late, j])[0, 1] > 0.995, name


def test_a_version_is_trained_stored_and_served(tmp_path: Path) -> None:
    job = RetrainJob(
        id="a",
        symbol="SOLUSDT",
        model="lorentzian",
        as_of_ms=end_ms(MARKET),
        declared_ms=0,
        days=days(MARKET),
        source=ParquetSource(path=str(write_parquet(tmp_path / "SOLUSDT.parquet", MARKET))),
        store=str(tmp_path / "store"),
        trials=2,
        interval="5m",
        options={"memory": 500, "k": "12"},
        allow_provisional=True,
    )
    result = retrain(job, Progress(quiet))
    assert result.version
    store, key = ModelStore(tmp_path / "store"), ModelKey("SOLUSDT", "lorentzian", "5m")
    manifest = store.manifest(key, result.version)
    assert (manifest.options["memory"], manifest.options["k"], manifest.inputs.view) == (500, 12, "bars-5m")
    rows = build_dataset(family("lorentzian", {}, "5m"), MARKET).sample.rows
    p, bp = load_forecaster(store.load(key, result.version)).batch(rows[-50:])
    assert p.sum(axis=1) == pytest.approx(1.0)
    assert np.isfinite(bp).all()
    assert (manifest.metrics["log_loss_skill"].value or 0.0) < 0.01  # candles without memory teach nothing


def test_only_rows_apart_are_remembered_the_newest_ones(sample: Sample) -> None:
    kind = family("lorentzian", {"memory": 300, "spacing": 6}, "5m")
    splits = split_by_time(sample, validation_share=0.15, test_share=0.15, bar_ms=300_000, embargo_bars=60)
    bank = kind.prepare(splits.train, splits.validation, seed=1, threads=1).bank
    assert len(bank) == 300
    newest = splits.train.rows[-1][[kind.features.index(name) for name in INPUTS]]  # type: ignore[index]
    np.testing.assert_allclose(bank.x[-1] * bank.span + bank.low, newest, rtol=1e-4, atol=1e-5)
    before = splits.train.rows[-7][[kind.features.index(name) for name in INPUTS]]  # type: ignore[index]
    np.testing.assert_allclose(bank.x[-2] * bank.span + bank.low, before, rtol=1e-4, atol=1e-5)


def test_a_pool_remembers_every_symbol_whatever_their_order() -> None:
    """Symbols share their moments; one of them has a bar in three only."""
    kind = family("lorentzian", {"memory": 301, "spacing": 2}, "5m")
    rng, marks = np.random.default_rng(3), kind.features.index(INPUTS[0])
    markets = []
    for symbol in range(3):
        rows = rng.normal(size=(900, len(kind.features))).astype(np.float32)
        rows[:, marks] = symbol
        made = made_up(rows, np.full((900, 3), 1 / 3), seed=symbol)
        markets.append(made.where(made.at_ms % 900_000 == 0) if symbol == 2 else made)
    banks = []
    for order in ((0, 1, 2), (2, 1, 0)):
        pool = pooled([markets[i] for i in order])
        bank = kind.prepare(pool, pool, seed=1, threads=1).bank
        x = bank.x * bank.span + bank.low
        banks.append(x[np.lexsort(x.T)])
        remembered = np.bincount(x[:, 0].round().astype(int), minlength=3).tolist()
        assert remembered == [129, 129, 43], "301 rows: 129 moments, of which each third has the scarce symbol"
    np.testing.assert_array_equal(*banks)


def test_what_it_refuses(sample: Sample) -> None:
    compat = family("lorentzian", {"form": "compat"}, "5m")
    assert "whole history" in compat.research_only  # type: ignore[attr-defined]
    with pytest.raises(ConfigError, match="research only"):
        compat.prepare(sample, sample, seed=1, threads=1)
    with pytest.raises(ConfigError, match="k 200 neighbours"):
        family("lorentzian", {"k": 200, "memory": 100})
    with pytest.raises(ConfigError, match="5m, 15m, 1h"):
        family("lorentzian", {}, "4h")
    few = sample.where(np.arange(len(sample)) < 300)
    with pytest.raises(DataError, match="75 bars to remember"):
        family("lorentzian", {}, "5m").prepare(few, sample, seed=1, threads=1)
