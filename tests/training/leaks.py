"""Leak tests for every family (models.md section 7, item 8): add a line to ``CASES`` and ``test_leaks`` runs them all.

Markets are made up, so that what can be known is known: a random walk holds nothing, a trending one hides a direction
that lasts. Splits, fit and figures are the pipeline's own; only the search is left out (defaults are fitted).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache

import numpy as np

from tradebot.evaluation.classification import auc
from tradebot.evaluation.trades import TradeRule
from tradebot.features.side import SIDE
from tradebot.forecasters.base import CandleColumns, Family, Fitted, Sample, family
from tradebot.market.candle import DAY_MS, INTERVAL_MS, MONDAY_MS, WEEK_MS
from tradebot.registry import Metric
from tradebot.training.baselines import fit_baselines
from tradebot.training.dataset import build_dataset
from tradebot.training.evaluate import Predictions, evaluate, predict
from tradebot.training.splits import Splits, embargo_bars, split_by_time

START_MS = MONDAY_MS + 2_900 * WEEK_MS
WARM_UP_DAYS = 14
LASTS = 60
"""Bars that a direction of the trending market lasts on average."""


@dataclass(frozen=True)
class Case:
    """A family to put to the test: its options, and how much of it is enough. ``rows`` beyond the warm-up."""

    name: str
    options: Mapping[str, float | int | str | bool] = field(default_factory=dict)
    interval: str = ""
    rounds: int = 40
    rows: int = 9_000
    drift: float = 0.35
    """Mean return of the trending market, in deviations of a bar."""

    def __hash__(self) -> int:
        return hash((self.name, self.interval, str(sorted(self.options.items()))))

    def __str__(self) -> str:
        return "-".join([self.name, *(str(value) for value in self.options.values())])

    @property
    def kind(self) -> Family:
        return family(self.name, dict(self.options), self.interval)


def walk(case: Case, drift: float, seed: int) -> CandleColumns:
    """Candles whose returns are noise around a drift that keeps its sign for ``LASTS`` bars on average; none: a random
    walk."""
    bar_ms = INTERVAL_MS[case.kind.interval]
    count = WARM_UP_DAYS * DAY_MS // bar_ms + case.rows
    rng = np.random.default_rng(seed)
    sigma = 0.0018 * np.sqrt(bar_ms / 300_000)
    side = np.cumprod(np.where(rng.random(count) < 1 / LASTS, -1.0, 1.0))
    close = 100.0 * np.exp(np.cumsum(sigma * (drift * side + rng.normal(size=count))))
    opened = np.concatenate([[100.0], close[:-1]])
    wick = np.abs(rng.normal(scale=sigma / 2, size=(2, count)))
    return CandleColumns(
        open_ms=START_MS + bar_ms * np.arange(count, dtype=np.int64),
        open=opened,
        high=np.maximum(opened, close) * (1 + wick[0]),
        low=np.minimum(opened, close) * (1 - wick[1]),
        close=close,
        volume=rng.lognormal(3.0, 0.5, size=count),
    )


def splits_of(case: Case, columns: CandleColumns) -> Splits:
    """The pipeline's own slices."""
    kind = case.kind
    return split_by_time(
        build_dataset(kind, columns).sample,
        validation_share=0.15,
        test_share=0.3,
        bar_ms=INTERVAL_MS[kind.interval],
        embargo_bars=embargo_bars(kind),
    )


def fitted(case: Case, splits: Splits, seed: int = 7) -> Fitted:
    """The family's defaults on training rows, stopped by validation rows."""
    kind = case.kind
    prepared = kind.prepare(splits.train, splits.validation, seed=seed, threads=1)
    return kind.fit(prepared, kind.defaults(case.rounds), rounds=case.rounds)


def judged(case: Case, splits: Splits, said: Predictions) -> dict[str, Metric]:
    """The pipeline's own figures on the test rows."""
    kind = case.kind
    rule = TradeRule(hold_rows=kind.horizon_bars)
    baselines = fit_baselines(kind, splits, cost_bp=1.0, rule=rule)
    bar_ms = INTERVAL_MS[kind.interval]
    return evaluate(said, splits.test, baselines, cost_bp=1.0, entry_bp=1.0, rule=rule, bar_ms=bar_ms, seed=7)


def random_walk(case: Case) -> None:
    """From nothing nothing is learnt: raw skill within noise."""
    splits = splits_of(case, walk(case, 0.0, seed=5))
    within_noise(judged(case, splits, predict(fitted(case, splits), splits.test)))


def shuffled_labels(case: Case) -> None:
    """Outcomes dealt out anew, on every slice: nothing is left to know, however much the market trends."""
    splits = splits_of(case, walk(case, case.drift, seed=6))
    mixed = replace(
        splits,
        train=_shuffled(splits.train, 1),
        validation=_shuffled(splits.validation, 2),
        test=_shuffled(splits.test, 3),
    )
    within_noise(judged(case, mixed, predict(fitted(case, mixed), mixed.test)))


def planted(case: Case) -> None:
    """A direction that is there is found, on rows that decided nothing."""
    splits, said = _trend(case)
    figure = judged(case, splits, said)["direction_auc"]
    assert figure.low is not None
    assert figure.low > 0.53, f"{case}: direction_auc {figure.value} [{figure.low}, {figure.high}]"


def delayed(case: Case) -> None:
    """What was said one bar ago still knows most of it: the skill is not the bar of the decision itself."""
    splits, said = _trend(case)
    test = splits.test
    moved = test.classes != 1
    now = auc(said.up_given_move[moved], test.classes[moved] == 2)
    late = auc(said.up_given_move[:-1][moved[1:]], test.classes[1:][moved[1:]] == 2)
    assert now is not None
    assert late is not None
    assert late - 0.5 > 0.6 * (now - 0.5), f"{case}: direction auc {now} at once, {late} a bar late"


def truncation(case: Case) -> None:
    """Rows do not change with what comes after them, to the last bit: neither with candles nor with what lies beside
    them."""
    kind = case.kind
    columns = walk(case, 0.2, seed=8)
    beside = np.random.default_rng(8).lognormal(sigma=0.001, size=(len(columns), len(SIDE))).cumprod(axis=0)
    columns = replace(columns, side=beside)
    whole, usable = kind.rows(columns)
    for part in (0.6, 0.83):
        cut = int(len(columns) * part)
        rows, flags = kind.rows(columns.where(slice(0, cut)))
        np.testing.assert_array_equal(rows, whole[:cut])
        np.testing.assert_array_equal(flags, usable[:cut])
        other = replace(columns, side=np.where(np.arange(len(columns))[:, None] < cut, beside, 3.0 * beside))
        np.testing.assert_array_equal(kind.rows(other)[0][:cut], whole[:cut])
    labels = kind.label(columns)
    cut = len(columns) - 500
    shorter = kind.label(columns.where(slice(0, cut)))
    known = shorter.classes >= 0
    np.testing.assert_array_equal(shorter.classes[known], labels.classes[:cut][known])
    assert not known[cut - kind.horizon_bars :].any(), "an outcome that lies beyond the data is not known"


CHECKS: tuple[Callable[[Case], None], ...] = (random_walk, shuffled_labels, planted, delayed, truncation)


def within_noise(figures: Mapping[str, Metric]) -> None:
    """No figure of skill is certain, and none is large."""
    direction = figures["direction_auc"]
    assert direction.value is not None
    assert direction.low is not None
    assert direction.high is not None
    assert direction.low <= 0.5 + 0.01, f"direction_auc {direction.value} [{direction.low}, {direction.high}]"
    assert abs(direction.value - 0.5) < 0.06, f"direction_auc {direction.value}"
    move = figures["move_auc"]
    assert move.value is not None
    assert move.low is not None
    assert move.low <= 0.5 + 0.01, f"move_auc {move.value} [{move.low}, {move.high}]"
    assert abs(move.value - 0.5) < 0.06, f"move_auc {move.value}"
    for name, most in (("log_loss_skill", 0.004), ("skill_vs_persistence", 0.004)):
        low = figures[name].low
        assert low is not None
        assert low <= most, f"{name} {figures[name].value} [{low}, {figures[name].high}]"


@cache
def _trend(case: Case) -> tuple[Splits, Predictions]:
    splits = splits_of(case, walk(case, case.drift, seed=9))
    return splits, predict(fitted(case, splits), splits.test)


def _shuffled(sample: Sample, seed: int) -> Sample:
    order = np.random.default_rng(seed).permutation(len(sample))
    return replace(
        sample,
        classes=sample.classes[order],
        realised_bp=sample.realised_bp[order],
        traded_bp=sample.traded_bp[order],
        range_bp=None if sample.range_bp is None else sample.range_bp[order],
    )


CASES: tuple[Case, ...] = (
    Case("lightgbm"),
    Case("lightgbm", {"kind": "three-class"}),
    Case("lorentzian", interval="15m", rows=6_000),
    Case("lorentzian-net", {"prototypes": 32, "horizon": 8}, interval="1h", rounds=8, rows=6_000),
    Case("bilstm", {"size": "small", "steps": 20, "hidden": 16}, interval="15m", rounds=4, rows=6_000),
)
"""Every family, small."""
