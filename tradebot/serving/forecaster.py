"""One model, ready to answer: the graph checked against its own golden rows, warm, and tied to its exact identity."""

from __future__ import annotations

import math
import time
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tradebot.errors import ModelError
from tradebot.events import ModelRef
from tradebot.registry import Artefact, Manifest
from tradebot.serving.session import open_session

TOLERANCE = 1e-6
"""Largest difference of a probability of trees on golden rows (models.md section 8). bp outputs are sums of products of
probabilities with class means, so theirs is scaled by the largest expected value in question."""
NET_TOLERANCE = 1e-5
"""The same of nets, whose sums are longer."""
TREES = frozenset({"lightgbm"})
"""Families made of trees."""

PROBABILITIES = "probabilities"
EXPECTED_BP = "expected_bp"
QUANTILES = "quantiles"
DOWN, UP = "down", "up"

_WARM_UP_RUNS = 20


def tolerance_of(family: str) -> float:
    """How far a probability may be from what the training library, or another machine, gives."""
    return TOLERANCE if family in TREES else NET_TOLERANCE


class Forecast(NamedTuple):
    """Expected return in bp over the model's horizon, and the chance of a move beyond the label's threshold.

    ``quantiles_bp``: (level, return in bp) by rising level, of a model that gives quantiles.
    """

    expected_bp: float
    p_up: float
    p_down: float
    quantiles_bp: tuple[tuple[float, float], ...] = ()


class Forecaster:
    """A loaded graph. ``forecast`` may be called from several threads at once; nothing here ever changes."""

    __slots__ = (
        "_down", "_gives", "_input", "_levels", "_run", "_shape", "_size", "_up",
        "load_ms", "providers", "ref", "tolerance",
    )  # fmt: skip

    def __init__(self, ref: ModelRef, manifest: Manifest, session: Any) -> None:
        self.ref = ref
        self.providers: tuple[str, ...] = tuple(session.get_providers())
        self.load_ms = 0.0
        self._run = session.run
        self._input = manifest.inputs.tensor
        self._shape = (1, *manifest.inputs.row_shape)
        self._size = 4 * math.prod(manifest.inputs.row_shape)
        self.tolerance = tolerance_of(manifest.family)
        columns = _columns(manifest)
        self._down, self._up = columns.index(DOWN), columns.index(UP)
        self._levels = quantile_levels(manifest)
        self._gives = (PROBABILITIES, EXPECTED_BP, QUANTILES) if self._levels else (PROBABILITIES, EXPECTED_BP)

    def forecast(self, row: bytes) -> Forecast:
        """Forecast from one row: little-endian float32 features in the view's order, NaN where missing; for a model of
        windows from the last rows, oldest first.

        Raises ModelError when there are more or fewer than the model takes. Non-finite outputs are returned as they
        are: blocking them is the engine's decision.
        """
        if len(row) != self._size:
            shape = " rows of ".join(str(n) for n in self._shape[1:])
            raise ModelError(f"{self.ref.name} {self.ref.version} takes {shape} features, got {len(row) / 4:g}")
        feed = {self._input: np.frombuffer(row, dtype="<f4").reshape(self._shape)}
        probabilities, expected, *further = self._run(self._gives, feed)
        return Forecast(
            float(expected[0, 0]),
            float(probabilities[0, self._up]),
            float(probabilities[0, self._down]),
            tuple(zip(self._levels, further[0][0].tolist(), strict=True)) if further else (),
        )

    def batch(self, rows: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Probabilities (B, classes) and expected bp (B,) for rows (B, features) or windows (B, steps, features)."""
        probabilities, expected = self._run((PROBABILITIES, EXPECTED_BP), {self._input: rows})
        return probabilities, expected[:, 0]

    def quantiles(self, rows: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Quantiles of the return (B, levels) in bp; (B, 0) of a model without any."""
        if not self._levels:
            return np.zeros((len(rows), 0), dtype=np.float32)
        (found,) = self._run((QUANTILES,), {self._input: rows})
        said: npt.NDArray[np.float32] = found
        return said


def load_forecaster(artefact: Artefact, *, ref: ModelRef | None = None) -> Forecaster:
    """Open, self-check on the golden rows, and warm up. Slow (ms): call it away from the event loop. ``ref`` is how its
    forecasts name it, other than by the artefact's own.

    Raises ModelError when the graph does not load, has other inputs or outputs than its manifest says, or does not
    reproduce its golden rows.
    """
    started = time.perf_counter()
    where = f"{artefact.key} {artefact.version}"
    manifest = artefact.manifest
    session = open_session(artefact.model, device=manifest.device, where=where)
    _check_tensors(session, manifest, where)
    forecaster = Forecaster(ref or artefact.ref, manifest, session)
    _check_golden(forecaster, manifest, where)
    row = manifest.golden.rows[: 4 * math.prod(manifest.inputs.row_shape)]
    for _ in range(_WARM_UP_RUNS):
        forecaster.forecast(row)
    forecaster.load_ms = (time.perf_counter() - started) * 1e3
    return forecaster


def _columns(manifest: Manifest) -> tuple[str, ...]:
    for output in manifest.outputs:
        if output.tensor == PROBABILITIES and {DOWN, UP} <= set(output.columns):
            return output.columns
    raise ModelError(f"{manifest.key}: its manifest lists no output {PROBABILITIES!r} with columns 'down' and 'up'")


def quantile_levels(manifest: Manifest) -> tuple[float, ...]:
    """Levels of the quantiles that a model gives, in the order of its output; none of most. Raises ModelError."""
    for output in manifest.outputs:
        if output.tensor == QUANTILES:
            try:
                levels = tuple(map(float, output.columns))
            except ValueError:
                levels = ()
            if not levels or list(levels) != sorted(set(levels)) or not 0 < levels[0] <= levels[-1] < 1:
                told = ", ".join(output.columns)
                raise ModelError(
                    f"{manifest.key}: its manifest's quantiles ({told}) are no rising levels between 0 and 1"
                )
            return levels
    return ()


def _check_tensors(session: Any, manifest: Manifest, where: str) -> None:
    takes = {tensor.name: (tensor.type, tensor.shape) for tensor in session.get_inputs()}
    gives = {tensor.name for tensor in session.get_outputs()}
    kind, shape = takes.get(manifest.inputs.tensor, ("", [None]))
    wanted = manifest.inputs.row_shape
    fits = len(shape) == 1 + len(wanted) and all(
        not isinstance(given, int) or given == size for given, size in zip(shape[1:], wanted, strict=True)
    )
    if len(takes) != 1 or kind != "tensor(float)" or not fits or shape[-1] != len(manifest.inputs.features):
        told = " rows of ".join(str(n) for n in wanted)
        raise ModelError(f"{where}: the graph takes {takes}, its manifest says {told} float32 features")
    missing = {PROBABILITIES, EXPECTED_BP} - gives
    if quantile_levels(manifest):
        missing |= {QUANTILES} - gives
    if missing:
        raise ModelError(f"{where}: the graph gives {sorted(gives)}; {', '.join(sorted(missing))} is missing")


def _check_golden(forecaster: Forecaster, manifest: Manifest, where: str) -> None:
    golden, shape, tolerance = manifest.golden, manifest.inputs.row_shape, forecaster.tolerance
    if golden.count < 1 or len(golden.rows) != 4 * math.prod(shape) * golden.count:
        raise ModelError(f"{where}: golden rows are missing or cut off")
    rows = np.frombuffer(golden.rows, dtype="<f4").reshape(golden.count, *shape)
    expected_p = np.asarray(golden.probabilities, dtype=np.float64)
    expected_bp = np.asarray(golden.expected_bp, dtype=np.float64)
    for name, (probabilities, bp) in (
        ("one batch", forecaster.batch(rows)),
        ("row by row", _row_by_row(forecaster, rows)),
    ):
        if probabilities.shape != expected_p.shape or bp.shape != expected_bp.shape:
            raise ModelError(f"{where}: golden outputs have another shape than the graph's")
        off_p = float(np.max(np.abs(probabilities - expected_p)))
        off_bp = float(np.max(np.abs(bp - expected_bp)))
        if not (off_p <= tolerance and off_bp <= tolerance * max(100.0, float(np.max(np.abs(expected_bp))))):
            raise ModelError(
                f"{where}: does not reproduce its golden rows ({name}: probabilities off by {off_p:.2e}, "
                f"expected return by {off_bp:.2e} bp); it is not served"
            )
    if quantile_levels(manifest):
        found, told = forecaster.quantiles(rows), np.asarray(golden.quantiles_bp, dtype=np.float64)
        if found.shape != told.shape or found.shape[1] != len(quantile_levels(manifest)):
            raise ModelError(f"{where}: golden quantiles have another shape than the graph's")
        off = float(np.max(np.abs(found - told)))
        if not off <= tolerance * max(100.0, float(np.max(np.abs(told)))):
            raise ModelError(
                f"{where}: does not reproduce its golden quantiles (off by {off:.2e} bp); it is not served"
            )


def _row_by_row(
    forecaster: Forecaster, rows: npt.NDArray[np.float32]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    pairs = [forecaster.batch(rows[i : i + 1]) for i in range(len(rows))]
    return np.concatenate([p for p, _ in pairs]), np.concatenate([bp for _, bp in pairs])
