"""How well LightGBM's three classes are told on recorded candles: trained before a moment, judged after it.

    python -m benchmarks.candle_quality [FILE.parquet …] [--cut 2026-02-15] [--trials 0] [--set KEY=VALUE] [--json]

Without files: those of ``../shared/data/market/candles`` that reach past the moment. One line per file and figure, with
95 % block-bootstrap intervals; ``without side`` is the same model served rows in which nothing is known beside the
candles. ``--trials 0`` takes the family's defaults, otherwise a search on folds before the moment chooses. The rows
after the moment decide nothing.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from tests.shared import ROOT
from tradebot.data.files import read_candles
from tradebot.errors import DataError
from tradebot.evaluation.trades import TradeRule
from tradebot.forecasters.base import Family, Fitted, Params, Sample, family
from tradebot.forecasters.lightgbm_fit import SIDE_GROUPS
from tradebot.jobs import JobCosts, ParquetSource
from tradebot.market.candle import DAY_MS, INTERVAL_MS
from tradebot.registry import Metric
from tradebot.training.baselines import choose_baselines
from tradebot.training.candles import load_candles
from tradebot.training.dataset import build_dataset
from tradebot.training.evaluate import entry_threshold, evaluate, predict
from tradebot.training.parity import check_parity
from tradebot.training.splits import Splits, embargo_bars, expanding_folds, weighed
from tradebot.training.tuning import tune

FIGURES = ("move_auc", "direction_auc", "log_loss_skill", "decided_accuracy", "net_bp_per_trade", "trades")
FOLDS = 4
VALIDATION_SHARE = 0.15
BYBIT = tuple(f"bybit_{coin}USDT_perp_5m.parquet" for coin in ("BTC", "ETH", "SOL", "BNB", "ADA", "AVAX"))


def split_at(sample: Sample, cut_ms: int, kind: Family) -> Splits:
    """Training and validation rows known before the moment, less the embargo; test rows from it on."""
    apart = embargo_bars(kind) * INTERVAL_MS[kind.interval]
    first = int(sample.at_ms[0])
    inner = first + round((cut_ms - first) * (1.0 - VALIDATION_SHARE))
    parts = (
        sample.label_end_ms <= inner - apart,
        (sample.at_ms >= inner) & (sample.label_end_ms <= cut_ms - apart),
        sample.at_ms >= cut_ms,
    )
    train, validation, test = (weighed(sample.where(part)) for part in parts)
    if not min(len(train), len(validation), len(test)):
        raise DataError(f"{len(sample)} usable rows leave none before or none after the moment")
    return Splits(train, validation, test, fit_end_ms=cut_ms, test_from_ms=cut_ms)


def without_side(sample: Sample, kind: Family) -> Sample:
    """The same rows where nothing is known beside the candles."""
    rows = np.array(sample.rows, dtype=np.float32)
    for group in SIDE_GROUPS:
        for name in group:
            if name in kind.features:
                rows[:, kind.features.index(name)] = np.nan
    return replace(sample, rows=rows)


def judge(kind: Family, fitted: Fitted, splits: Splits) -> dict[str, Metric]:
    """The figures of ``tradebot evaluate`` on the test rows, against base rates in log-loss."""
    cost_bp, rule = JobCosts().round_trip_bp, TradeRule(hold_rows=kind.horizon_bars, cooldown_rows=2)
    entry_bp = entry_threshold(predict(fitted, splits.validation), splits.validation, cost_bp, rule)
    chosen = choose_baselines(kind, splits, cost_bp=cost_bp, rule=rule)
    baselines = chosen.say(splits.test, tuple(kind.features))
    base = replace(baselines.log_loss, name="base rates", score=-np.log(np.array(chosen.rates)[splits.test.classes]))
    return evaluate(
        predict(fitted, splits.test),
        splits.test,
        replace(baselines, log_loss=base),
        cost_bp=cost_bp,
        entry_bp=entry_bp,
        rule=rule,
        bar_ms=INTERVAL_MS[kind.interval],
        seed=1,
    )


def one_file(path: Path, kind: Family, cut_ms: int, trials: int, rounds: int) -> dict[str, Any]:
    """Figures of one file, with and without what is known beside its candles."""
    started = time.perf_counter()
    candles = load_candles(
        ParquetSource(path=str(path)),
        next(part for part in path.stem.split("_") if part.endswith("USDT")),
        kind.interval,
        as_of_ms=read_candles(str(path)).end_ms,
        days=3_650,
    )
    data = build_dataset(kind, candles)
    splits = split_at(data.sample, cut_ms, kind)
    params: Params = kind.defaults(rounds)
    if trials:
        folds = expanding_folds(
            splits.train, folds=FOLDS, bar_ms=INTERVAL_MS[kind.interval], embargo_bars=embargo_bars(kind)
        )
        params = tune(kind, folds, trials=trials, rounds=rounds, seed=1, threads=1).params
    prepared = kind.prepare(splits.train, splits.validation, seed=1, threads=1)
    fitted = kind.fit(prepared, params, rounds=rounds)
    took = time.perf_counter() - started
    parity = check_parity(
        fitted, fitted.export(data.sample.rows[-2_000:]).onnx, "row", data.sample.rows[-2_000:], where=""
    )
    alone = judge(kind, fitted, replace(splits, test=without_side(splits.test, kind)))
    return {
        "file": path.name,
        "test_rows": len(splits.test),
        "test_days": round((int(splits.test.at_ms[-1]) - cut_ms) / DAY_MS, 1),
        "absent": list(data.absent),
        "rounds": fitted.rounds,
        "train_s": round(took, 1),
        "onnx_error": parity.max_probability_error,
        "onnx_us": round(1e3 * parity.latency_ms, 1),
        "metrics": {name: _plain(metric) for name, metric in judge(kind, fitted, splits).items()},
        "without_side": {name: _plain(alone[name]) for name in ("move_auc", "direction_auc", "log_loss_skill")},
    }


def _plain(metric: Metric) -> dict[str, float | None]:
    return {"value": metric.value, "low": metric.low, "high": metric.high, "baseline": metric.baseline}


def _said(figure: dict[str, float | None]) -> str:
    value, low, high = figure["value"], figure["low"], figure["high"]
    if value is None:
        return "–"
    text = f"{value:.4f}" if abs(value) < 10 else f"{value:.1f}"
    return text if low is None or high is None else f"{text} [{low:.4f}, {high:.4f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description="LightGBM on recorded candles, trained before a moment, judged after")
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--cut", default="2026-02-15", help="first day (UTC) that is judged")
    parser.add_argument("--trials", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=2_000)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="an option of the family")
    parser.add_argument("--json", action="store_true", help="one object per file and line")
    arguments = parser.parse_args()
    kind = family("lightgbm", dict(item.split("=", 1) for item in arguments.set))
    cut_ms = round(datetime.fromisoformat(arguments.cut).replace(tzinfo=UTC).timestamp() * 1e3)
    files = arguments.files or [ROOT / "data/market/candles" / name for name in BYBIT]
    for path in files:
        found = one_file(path, kind, cut_ms, arguments.trials, arguments.rounds)
        if arguments.json:
            print(json.dumps(found), flush=True)
            continue
        print(
            f"\n{found['file']}: {found['test_rows']} rows of {found['test_days']} days; {found['rounds']} rounds, "
            f"trained in {found['train_s']} s; ONNX off by {found['onnx_error']:.1e}, {found['onnx_us']} µs a row"
        )
        for name in FIGURES:
            base = found["metrics"][name]["baseline"]
            print(f"  {name:<18}{_said(found['metrics'][name]):<30}{'' if base is None else f'baseline {base:.4f}'}")
        for name, figure in found["without_side"].items():
            print(f"  {name:<18}{_said(figure):<30}without side")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
