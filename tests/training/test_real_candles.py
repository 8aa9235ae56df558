"""A small retraining on recorded candles: whatever the market holds, the figures must be honest and the files right."""

from __future__ import annotations

import doctest
from pathlib import Path

import numpy as np

from tests.shared import shared_path
from tradebot.data.files import read_candles
from tradebot.forecasters.base import family
from tradebot.jobs import ParquetSource, RetrainJob, job, job_id
from tradebot.registry import ModelKey, ModelStore, manifest
from tradebot.serving.forecaster import load_forecaster
from tradebot.training import runner
from tradebot.training.candles import load_candles
from tradebot.training.runner import run_job

KEY = ModelKey("SOLUSDT", "lightgbm", "5m")


def test_recorded_candles_give_a_parity_checked_model_with_a_stated_verdict(tmp_path: Path) -> None:
    path = shared_path("data/market/candles/bybit_SOLUSDT_perp_5m.parquet")
    as_of = read_candles(path).end_ms - 3 * 86_400_000
    asked = RetrainJob(
        id=job_id("SOLUSDT", "lightgbm", as_of),
        symbol="SOLUSDT",
        model="lightgbm",
        as_of_ms=as_of,
        declared_ms=60_000,
        days=60,
        source=ParquetSource(path=str(path)),
        store=str(tmp_path),
        trials=2,
        rounds=40,
        allow_provisional=True,
    )
    result = run_job(asked)
    assert result.verdict in ("promoted", "provisional")
    assert result.promoted
    move, direction = result.metrics["move_auc"], result.metrics["direction_auc"]
    assert move.low > 0.5  # type: ignore[operator]  # volatility clusters: whether it moves can be told
    assert direction.value < 0.6  # type: ignore[operator]  # which way can hardly; a higher figure would be a leak
    artefact = ModelStore(tmp_path).load(KEY)
    lineage = artefact.manifest.lineage
    assert lineage.data_to_ms <= as_of
    assert lineage.fit_end_ms <= lineage.test_from_ms < lineage.data_to_ms
    assert {c.name for c in artefact.manifest.gate.checks} >= {"parity", "latency_ms", "baseline"}

    kind = family("lightgbm")
    candles = load_candles(asked.source, "SOLUSDT", "5m", as_of_ms=as_of, days=60)
    rows, usable = kind.rows(candles)
    forecaster = load_forecaster(artefact)
    newest = rows[usable][-1_000:]
    batch_p, batch_bp = forecaster.batch(newest)
    single = np.array([forecaster.forecast(row.tobytes())[:3] for row in newest])
    np.testing.assert_allclose(single[:, 0], batch_bp, atol=1e-4)
    np.testing.assert_allclose(single[:, 1:], batch_p[:, [2, 0]], atol=1e-6)


def test_examples_in_the_docstrings_are_true() -> None:
    for module in (job, runner, manifest):
        outcome = doctest.testmod(module)
        assert outcome.attempted > 0
        assert outcome.failed == 0
