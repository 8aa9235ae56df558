"""P6: tuning LightGBM, the product's search against the plain recipe, alternating in one run.

    python -m benchmarks.bench_tuning [--trials 50] [--rounds 2000] [--seeds 3] [--rows 20000] [--candles FILE.parquet]

Both search the same space on the same folds and rows with the same sampler. The plain recipe makes its Dataset anew
for every fit, waits 100 rounds for an improvement whatever the learning rate, and lets every trial run to its end. The
score is the best trial's mean weighted log-loss over the folds. Without a file the candles are made up.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from unittest.mock import patch

import optuna

from tests.training import market
from tradebot.forecasters import lightgbm_trees
from tradebot.forecasters.base import CandleColumns, Family, family
from tradebot.jobs import ParquetSource
from tradebot.training.candles import load_candles
from tradebot.training.dataset import build_dataset
from tradebot.training.scoring import ALL_DAYS, FAR_MS
from tradebot.training.splits import Splits, embargo_bars, expanding_folds
from tradebot.training.tuning import tune

FOLDS = 4


def plain(kind: Family, folds: Sequence[Splits], *, trials: int, rounds: int, seed: int, threads: int) -> float:
    """The best trial's loss by the plain recipe."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed, n_startup_trials=max(3, trials // 3)))
    study.enqueue_trial(kind.defaults(rounds))
    with patch.object(lightgbm_trees, "patience", lambda rate: 100):
        for _ in range(trials):
            trial = study.ask()
            params = kind.suggest(trial, rounds)
            losses = []
            for fold in folds:
                prepared = kind.prepare(fold.train, fold.validation, seed=seed, threads=threads)
                losses.append(kind.fit(prepared, params, rounds=rounds).validation_loss)
            study.tell(trial, sum(losses) / len(losses))
    return float(study.best_value)


def candles_of(path: Path | None, rows: int) -> CandleColumns:
    """The newest ``rows`` candles and their warm-up."""
    if path is None:
        return market.candles(rows + 4_000, momentum=0.3, seed=11)
    found = load_candles(ParquetSource(path=str(path)), "SOLUSDT", "5m", as_of_ms=FAR_MS, days=ALL_DAYS)
    return found.where(slice(-(rows + 4_000), None))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=2_000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--candles", type=Path)
    asked = parser.parse_args()
    kind = family("lightgbm", {"kind": "three-class", "calibrate": False})
    sample = build_dataset(kind, candles_of(asked.candles, asked.rows)).sample
    folds = expanding_folds(sample, folds=FOLDS, bar_ms=market.BAR_MS, embargo_bars=embargo_bars(kind))
    limits = {"trials": asked.trials, "rounds": asked.rounds, "threads": asked.threads}
    print(f"{len(sample)} rows, {len(kind.features)} features, {FOLDS} folds, {asked.trials} trials")
    print("seed   plain s    ours s   ratio  plain loss    our loss  pruned")
    ratios = []
    for seed in range(1, asked.seeds + 1):
        started = time.perf_counter()
        plain_loss = plain(kind, folds, seed=seed, **limits)
        between = time.perf_counter()
        ours = tune(kind, folds, seed=seed, **limits)
        ended = time.perf_counter()
        ratios.append((between - started) / (ended - between))
        print(
            f"{seed:>4}  {between - started:>8.1f}  {ended - between:>8.1f}  {ratios[-1]:>6.2f}  {plain_loss:>10.5f}  "
            f"{ours.loss:>10.5f}  {ours.pruned:>6}"
        )  # fmt: skip
    print(f"median ratio {median(ratios):.2f} (target: at least 2.5 to an equal or better loss)")


if __name__ == "__main__":
    main()
