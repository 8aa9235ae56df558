"""Proof that the exported graph is the model that was judged (models.md section 8)."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from tradebot.errors import ModelError
from tradebot.forecasters.base import Fitted, Floats, Inputs, Rows, TellsQuantiles, as_served
from tradebot.registry import Golden
from tradebot.serving.forecaster import EXPECTED_BP, PROBABILITIES, QUANTILES, TOLERANCE
from tradebot.serving.session import open_session

BATCHES = (1, 7)
MIN_ROWS = 1_000
GOLDEN_ROWS = 16


@dataclass(frozen=True, slots=True)
class Parity:
    """Largest differences seen, the median time of one forecast (wall ms), and golden rows taken from the graph."""

    rows: int
    max_probability_error: float
    max_bp_error: float
    latency_ms: float
    golden: Golden


def check_parity(
    fitted: Fitted, onnx: bytes, input_name: str, rows: Inputs, *, where: str, tolerance: float = TOLERANCE
) -> Parity:
    """Compare the graph with the library's own model on real rows at batch 1 and 7, missing values included.

    ``tolerance``: ``serving.tolerance_of`` the family, as where the graph is loaded.

    Some rows get every value, or one value in eight, removed: a live row may miss what no training row missed.
    Raises ModelError when a probability is off by more than ``tolerance``, or an expected return or a quantile by more
    than so much of 100 bp (or of the largest, where that is more).
    """
    session = open_session(onnx, where=where)
    holed = with_missing_values(as_served(rows))
    expected_p, expected_bp = fitted.predict(holed)
    scale = max(100.0, float(np.max(np.abs(expected_bp))))
    worst_p = worst_bp = 0.0
    quantiles = fitted.quantiles(holed) if isinstance(fitted, TellsQuantiles) else None
    for batch in BATCHES:
        p, bp = _run(session, input_name, holed, batch)
        error_p, error_bp = np.abs(p - expected_p), np.abs(bp - expected_bp)
        worst_p, worst_bp = max(worst_p, float(np.max(error_p))), max(worst_bp, float(np.max(error_bp)))
        if not (np.isfinite(p).all() and worst_p <= tolerance and worst_bp <= tolerance * scale):
            raise ModelError(
                f"{where}: the ONNX graph differs from the model it was made from at batch {batch} "
                f"(probability {worst_p:.2e}, expected return {worst_bp:.2e} bp); it is not stored"
            )
        if quantiles is not None:
            off = float(np.max(np.abs(_quantiles(session, input_name, holed, batch) - quantiles)))
            if not off <= tolerance * max(100.0, float(np.max(np.abs(quantiles)))):
                raise ModelError(
                    f"{where}: the quantiles of the ONNX graph differ from those of the model it was made from at "
                    f"batch {batch} ({off:.2e} bp); it is not stored"
                )
    golden = _golden(session, input_name, holed, with_quantiles=quantiles is not None)
    return Parity(len(holed), worst_p, worst_bp, _latency_ms(session, input_name, holed), golden)


def with_missing_values(rows: Rows) -> Rows:
    """A copy of ``rows`` (or windows of them) in which every 50th misses everything and every 10th one feature in
    eight."""
    holed = np.array(rows, dtype=np.float32)
    for i in range(0, len(holed), 10):
        holed[i, ..., (i // 10) % 8 :: 8] = np.nan
    holed[::50] = np.nan
    return holed


def _latency_ms(session: object, input_name: str, rows: Rows) -> float:
    times = []
    for i in range(min(200, len(rows))):
        started = time.perf_counter()
        _run(session, input_name, rows[i : i + 1], 1)
        times.append((time.perf_counter() - started) * 1e3)
    return float(np.median(times))


def _golden(session: object, input_name: str, rows: Rows, *, with_quantiles: bool) -> Golden:
    chosen = np.ascontiguousarray(rows[np.linspace(0, len(rows) - 1, GOLDEN_ROWS).astype(int)], dtype="<f4")
    p, bp = _run(session, input_name, chosen, len(chosen))
    quantiles = _quantiles(session, input_name, chosen, len(chosen)) if with_quantiles else np.zeros((0, 0))
    return Golden(
        count=len(chosen),
        rows=chosen.tobytes(),
        probabilities=tuple(tuple(map(float, row)) for row in p),
        expected_bp=tuple(map(float, bp)),
        quantiles_bp=tuple(tuple(map(float, row)) for row in quantiles),
    )


def _run(session: object, input_name: str, rows: Rows, batch: int) -> tuple[Floats, Floats]:
    outputs = [
        session.run((PROBABILITIES, EXPECTED_BP), {input_name: rows[i : i + batch]})  # type: ignore[attr-defined]
        for i in range(0, len(rows), batch)
    ]
    p = np.concatenate([out[0] for out in outputs]).astype(np.float64)
    bp = np.concatenate([out[1][:, 0] for out in outputs]).astype(np.float64)
    return p, bp


def _quantiles(session: object, input_name: str, rows: Rows, batch: int) -> Floats:
    outputs = [
        session.run((QUANTILES,), {input_name: rows[i : i + batch]})[0]  # type: ignore[attr-defined]
        for i in range(0, len(rows), batch)
    ]
    return np.concatenate(outputs).astype(np.float64)
