"""What is done with a walk once it is over: sized by a bandit, or stacked with other walks of the same market.

What a walk says of its test parts was said by models fitted before them, so it is out of fold by itself. The older half
of it is learnt from, the newer one judged on.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import pyarrow.parquet as pq

from tradebot.errors import DataError
from tradebot.evaluation.bootstrap import Interval
from tradebot.forecasters.base import Floats, Sample, family
from tradebot.training.advanced.sizing import sized
from tradebot.training.advanced.stacking import stacked
from tradebot.training.walk.plan import WalkPlan
from tradebot.training.walk.run import Walked

OUT_OF_SAMPLE = "out_of_sample.parquet"
_P = ("p_down", "p_neutral", "p_up")


class SizingResult(msgspec.Struct, frozen=True, kw_only=True):
    """Bandit against threshold rule on the rows it decided: bp of the capital in all, and how sure the difference a
    row is. ``beats`` false: the rule stays."""

    rows: int
    bandit_bp: float
    rule_bp: float
    gain_bp: float
    low: float
    high: float
    p_better: float
    beats: bool
    taken: dict[str, int]


class StackResult(msgspec.Struct, frozen=True, kw_only=True):
    """Stack of walks: weights, log-loss (nats) on the newer half of each member and of what is used, and how much less
    that is than the best member's."""

    use: str
    best: str
    weights: dict[str, float]
    losses: dict[str, float]
    gain: float
    low: float
    high: float
    p_better: float


def size(plan: WalkPlan, walked: Walked) -> SizingResult:
    """Let the bandit decide on a walk's forecasts."""
    said, market = walked.said, walked.market
    found = sized(
        market.candles,
        market.rows_of(said.at_ms),
        said.expected_bp,
        said.probabilities,
        rule=market.rule,
        costs=plan.costs,
        bar_ms=market.bar_ms,
        seed=plan.seed,
    )
    return SizingResult(
        rows=len(found.bandit_bp),
        bandit_bp=float(found.bandit_bp.sum()),
        rule_bp=float(found.rule_bp.sum()),
        gain_bp=found.gain.mean,
        low=found.gain.low,
        high=found.gain.high,
        p_better=found.gain.p_positive,
        beats=found.beats,
        taken=found.taken,
    )


def stack(plan: WalkPlan, walked: Walked, out: Path, others: Sequence[Path]) -> StackResult:
    """Stack a walk (in ``out``) with those of the directories ``others``, on the moments all of them tell of.

    All are judged by this walk's label. Raises DataError for a directory without a walk, or without common moments.
    """
    tables = {name: _read(folder) for name, folder in _named([out, *others]).items()}
    common = np.array(sorted(set.intersection(*(set(at.tolist()) for at, _ in tables.values()))), dtype=np.int64)
    kind = family(plan.model, plan.options, plan.interval)
    labels = kind.label(walked.market.candles)
    rows = walked.market.rows_of(common)
    inside = (rows >= 0) & (rows < len(labels.classes))
    known = inside & (labels.classes[np.where(inside, rows, 0)] >= 0)
    common, rows = common[known], rows[known]
    if len(common) < 200:
        raise DataError(f"the walks tell of {len(common)} common moments, 200 are the least to stack them on")
    members = {name: p[np.searchsorted(at, common)] for name, (at, p) in tables.items()}
    label_ms = kind.horizon_bars * walked.market.bar_ms
    realised = labels.realised[rows] * 1e4
    whole = Sample(
        rows=np.zeros((len(common), 1), dtype=np.float32),
        classes=labels.classes[rows],
        weight=np.ones(len(common)),
        at_ms=common,
        label_end_ms=common + label_ms,
        realised_bp=realised,
        traded_bp=realised,
        past_bp=np.zeros((len(common), 1)),
    )
    cut = int(common[len(common) // 2])
    old, new = whole.label_end_ms <= cut, whole.at_ms >= cut
    before, later = ({name: p[part] for name, p in members.items()} for part in (old, new))
    found = stacked(before, whole.where(old), later, whole.where(new))
    gain: Interval = found.gain
    return StackResult(
        use=found.use,
        best=found.best,
        weights=dict(zip(found.members, found.stack.weights.tolist(), strict=True)),
        losses=dict(found.losses),
        gain=gain.mean,
        low=gain.low,
        high=gain.high,
        p_better=gain.p_positive,
    )


def _named(folders: Sequence[Path]) -> dict[str, Path]:
    names = [folder.absolute().name for folder in folders]
    return {
        name if names.count(name) == 1 else str(folder): folder for name, folder in zip(names, folders, strict=True)
    }


def check_over(folder: Path) -> None:
    """Raises DataError when ``folder`` holds no walk that is over."""
    file = folder / OUT_OF_SAMPLE
    if not file.is_file():
        raise DataError(
            f"{file}: is not there; a walk that is over leaves it (tradebot walkforward --model ... --out DIR)"
        )


def _read(folder: Path) -> tuple[np.ndarray, Floats]:
    check_over(folder)
    file = folder / OUT_OF_SAMPLE
    table = pq.read_table(file)
    return table.column("at_ms").to_numpy(), np.stack([table.column(name).to_numpy() for name in _P], axis=1)
