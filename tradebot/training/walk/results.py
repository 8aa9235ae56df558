"""What a walk came to: figures of the test parts put together, and the files that tell of it."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tradebot.evaluation.headline import Figure, measure
from tradebot.evaluation.overfitting import deflated_sharpe
from tradebot.evaluation.periods import days_of
from tradebot.evaluation.stress import Luck, luck_of_days
from tradebot.evaluation.trade_curve import START, TradeCurve
from tradebot.evaluation.unskilled import buy_and_hold
from tradebot.market.candle import DAY_MS
from tradebot.ops.files import make_private, write_atomic
from tradebot.training.figures.charts import Curve, curves
from tradebot.training.walk.plan import Metric, WalkPlan
from tradebot.training.walk.run import Walked
from tradebot.training.walk.trading import score

SUMMARY = "walk.json"
METRICS: tuple[Metric, ...] = ("total_return", "win_rate", "sharpe_ratio", "sortino_ratio", "calmar_ratio")


class WalkResult(msgspec.Struct, frozen=True, kw_only=True):
    """Figures of the concatenated test parts (ratios yearly), with intervals; ``trials`` is everything that was tried
    for this result and ``deflated_sharpe`` how probable a true Sharpe above that much luck is.

    ``hold_sharpe``: of buying and holding over the same days. ``luck``: days drawn again in stretches of five.
    """

    model: str
    symbol: str
    interval: str
    rule: str
    seed: int
    windows: int
    from_ms: int
    to_ms: int
    round_trip_bp: float
    trades: int
    figures: dict[str, Figure]
    trials: int
    deflated_sharpe: float | None
    hold_sharpe: float | None
    luck: Luck | None
    insufficient: tuple[str, ...]


def result_of(plan: WalkPlan, walked: Walked, *, tried: int = 1) -> tuple[WalkResult, TradeCurve]:
    """Figures of a walk. ``tried``: how many walks like this one were made in all, seeds and settings."""
    rows = walked.market.rows_of(walked.said.at_ms)
    curve = walked.market.curve(rows, walked.said.signal, plan.rule)
    found = measure(curve.ts_ms, curve.equity, curve.trips, seed=plan.seed)
    span = slice(int(rows[0]), int(rows[0]) + len(curve.ts_ms))
    held = buy_and_hold(walked.market.candles.open[span, None], capital=START, cost_bp=walked.market.cost_bp / 2)
    days = days_of(curve.ts_ms, curve.equity)
    trials = plan.trials * tried
    deflated = deflated_sharpe(days.returns, trials=trials)
    result = WalkResult(
        model=plan.model,
        symbol=plan.symbol,
        interval=walked.interval,
        rule=plan.rule,
        seed=plan.seed,
        windows=len(walked.windows),
        from_ms=int(curve.ts_ms[0]),
        to_ms=int(curve.ts_ms[-1]),
        round_trip_bp=walked.market.cost_bp,
        trades=len(curve.trips),
        figures=found.figures,
        trials=trials,
        deflated_sharpe=None if deflated is None else deflated.probability,
        hold_sharpe=measure(curve.ts_ms, held, curve.trips, draws=2).value("sharpe"),
        luck=luck_of_days(days) if len(curve.trips) else None,
        insufficient=found.insufficient,
    )
    return result, curve


def write_results(out: Path, plan: WalkPlan, walked: Walked, result: WalkResult, curve: TradeCurve) -> None:
    """``walk.json``, ``window_metrics.csv``, ``out_of_sample.parquet``, ``figures/``; the newest window's model is the
    final one."""
    make_private(out / "figures")
    for name, picture in _figures(plan, walked, curve).items():
        write_atomic(out / "figures" / name, picture)
    write_atomic(out / "window_metrics.csv", _window_metrics(plan, walked).encode())
    write_atomic(out / "out_of_sample.parquet", _series(walked, curve))
    for suffix in ("onnx", "pt"):
        newest = out / f"best_model_window_{walked.windows[-1].number}.{suffix}"
        if newest.exists():
            write_atomic(out / f"final_model.{suffix}", newest.read_bytes())
    write_atomic(out / SUMMARY, msgspec.json.format(msgspec.json.encode(result), indent=2) + b"\n")


def _window_metrics(plan: WalkPlan, walked: Walked) -> str:
    """One row a window. Its own figures describe; they choose nothing and are nobody's result."""
    text = io.StringIO()
    chosen = {choice.number: choice for choice in walked.choices}
    names = ("window", "test_from_ms", "test_to_ms", "train_rows", "validation_rows", "test_rows", "rounds", "level_bp")
    more = ("validation_score", "validation_loss", "params", "trades", *METRICS)
    table = csv.DictWriter(text, (*names, *more), lineterminator="\n")
    table.writeheader()
    rows = walked.market.rows_of(walked.said.at_ms)
    for window in walked.windows:
        own = (walked.said.at_ms >= window.test_from_ms) & (walked.said.at_ms < window.test_to_ms)
        curve = walked.market.curve(rows[own], walked.said.signal[own], plan.rule)
        row: dict[str, object] = {
            "window": window.number,
            "test_from_ms": window.test_from_ms,
            "test_to_ms": window.test_to_ms,
            "test_rows": int(own.sum()),
            "trades": len(curve.trips),
        }
        row |= {name: _number(score(curve, name)) for name in METRICS}
        if (choice := chosen.get(window.number)) is not None:
            row |= {name: getattr(choice, name) for name in ("train_rows", "validation_rows", "rounds")}
            row |= {name: _number(getattr(choice, name)) for name in ("level_bp", "validation_score")}
            row["validation_loss"] = _number(choice.validation_loss)
            row["params"] = msgspec.json.encode(choice.params).decode()
        table.writerow(row)
    return text.getvalue()


def _figures(plan: WalkPlan, walked: Walked, curve: TradeCurve) -> dict[str, bytes]:
    """Equity beside holding, and what each window earned."""
    days = (curve.ts_ms - curve.ts_ms[0]) / DAY_MS
    first = int(walked.market.rows_of(walked.said.at_ms[:1])[0])
    price = walked.market.candles.open[first : first + len(curve.ts_ms)]
    name = f"{plan.symbol} {plan.model}"
    shown = {
        "traded, after costs": Curve(days, curve.equity / curve.equity[0]),
        "held": Curve(days, price / price[0]),
    }
    earned = []
    for window in walked.windows:
        ends = np.searchsorted(curve.ts_ms, (window.test_from_ms, window.test_to_ms), side="right") - 1
        earned.append(float(curve.equity[ends[1]] / curve.equity[ends[0]] - 1.0))
    each = {"a window": Curve(np.arange(1.0, len(earned) + 1.0), np.array(earned) * 100, dots=True)}
    title = f"{name}: the windows, none a result by itself"
    return {
        "equity.png": curves(
            f"{name}: test parts put together", shown, across="days", up="equity, times the start", level=1.0
        ),
        "windows.png": curves(title, each, across="window", up="return after costs, %", level=0.0, whole=True),
    }


def _number(value: float | None) -> str:
    return "" if value is None or not math.isfinite(value) else f"{value:.6g}"


def _series(walked: Walked, curve: TradeCurve) -> bytes:
    """Forecast, signal and equity of every test row (equity: at the open after its close)."""
    said, count = walked.said, len(walked.said.at_ms)
    equity = curve.equity[1 : count + 1]
    columns = {
        "at_ms": said.at_ms,
        "p_down": said.probabilities[:, 0],
        "p_neutral": said.probabilities[:, 1],
        "p_up": said.probabilities[:, 2],
        "expected_bp": said.expected_bp,
        "signal": said.signal,
        "equity": np.concatenate([equity, np.full(count - len(equity), curve.equity[-1])]),
    }
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer, compression="zstd")
    return buffer.getvalue()


class Seeds(msgspec.Struct, frozen=True, kw_only=True):
    """Sharpe of one walk for each seed, their mean and their spread (of the sample; None for one)."""

    seeds: tuple[int, ...]
    sharpes: tuple[float, ...]
    mean: float
    deviation: float | None


def over_seeds(results: Sequence[WalkResult]) -> Seeds:
    """What several seeds came to together; a walk that never traded has a Sharpe of 0."""
    sharpes = tuple(result.figures["sharpe"].value or 0.0 for result in results)
    return Seeds(
        seeds=tuple(result.seed for result in results),
        sharpes=sharpes,
        mean=float(np.mean(sharpes)),
        deviation=float(np.std(sharpes, ddof=1)) if len(sharpes) > 1 else None,
    )
