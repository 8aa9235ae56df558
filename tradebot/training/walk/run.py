"""Walking: every window in turn, each kept in files of its own, so that a walk that was stopped goes on."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tradebot.errors import ConfigError, DataError
from tradebot.evaluation.trades import TradeRule
from tradebot.evaluation.walkforward import Window, windows
from tradebot.forecasters.base import CandleColumns, Family, family
from tradebot.forecasters.lorentzian import Lorentzian
from tradebot.forecasters.lorentzian_indicator import (
    compat_scores,
    contrarian_labels,
    forward_labels,
    indicator_inputs,
    proper_scores,
)
from tradebot.forecasters.lorentzian_signals import entries, filters_of
from tradebot.market.candle import DAY_MS, INTERVAL_MS
from tradebot.ops.files import make_private, write_atomic
from tradebot.training.candles import load_candles
from tradebot.training.dataset import Dataset, build_dataset, candles_sha256
from tradebot.training.progress import Cancelled
from tradebot.training.splits import embargo_bars
from tradebot.training.walk.plan import WalkPlan
from tradebot.training.walk.trading import Market, market_of
from tradebot.training.walk.windows import Said, WindowChoice, fit_window

ASKED = "walk.sha256"
PARTS = "windows"
EXTRA_DAYS = 21
"""History before the first window, in which features warm up."""

OnPlan = Callable[[tuple[Window, ...]], None]
OnWindow = Callable[[Window, bool], None]
OnRound = Callable[[Window, int, float], None]


@dataclass(frozen=True, slots=True, eq=False)
class Walked:
    """A walk that is over: every window's choice (none where nothing was fitted), and the signals put together."""

    interval: str
    market: Market
    choices: tuple[WindowChoice, ...]
    said: Said
    windows: tuple[Window, ...]


@dataclass(frozen=True, slots=True, eq=False)
class _Ready:
    kind: Family
    candles: CandleColumns
    market: Market
    plan: tuple[Window, ...]
    data_sha256: str


def walk(
    plan: WalkPlan,
    out: Path,
    *,
    on_plan: OnPlan = lambda windows: None,
    on_window: OnWindow = lambda window, done: None,
    on_round: OnRound = lambda window, number, loss: None,
    say: Callable[[str], None] = lambda text: None,
    stop: Callable[[], bool] = lambda: False,
) -> Walked:
    """Walk, keeping ``best_model_window_N`` and each window's forecasts in ``out``. ``on_window`` is told before
    (False) and after (True) each.

    Raises Cancelled when stopped (the same call goes on), ConfigError for a directory of another walk or options that
    cannot be, DataError for unusable candles.
    """
    ready = _prepare(plan, say)
    _claim(out, plan.fingerprint(ready.data_sha256))
    on_plan(ready.plan)
    if plan.rule == "indicator":
        said = _indicated(plan, ready)
        for window in ready.plan:
            on_window(window, True)
        return Walked(ready.kind.interval, ready.market, (), said, ready.plan)
    data: Dataset | None = None
    for window in ready.plan:
        if _done(out, window) is not None:
            on_window(window, True)
            continue
        on_window(window, False)
        data = data or build_dataset(ready.kind, ready.candles)

        def heard(number: int, loss: float, window: Window = window) -> bool:
            if stop():
                raise Cancelled("stopped")
            on_round(window, number, loss)
            return False

        if stop():
            raise Cancelled("stopped")
        choice, fitted, said = fit_window(plan, ready.kind, data.sample, ready.market, window, heard)
        exported = fitted.export(data.sample.rows[-64:])
        name = f"best_model_window_{window.number}"
        for suffix, content in {"onnx": exported.onnx, "pt": exported.files.get("model.pt", b"")}.items():
            if content:
                write_atomic(out / f"{name}.{suffix}", content)
        write_atomic(_part(out, window, "parquet"), _table(said))
        write_atomic(_part(out, window, "json"), msgspec.json.encode(choice))
        on_window(window, True)
    choices = tuple(made for window in ready.plan if (made := _done(out, window)) is not None)
    said = _joined([_part(out, window, "parquet") for window in ready.plan])
    return Walked(ready.kind.interval, ready.market, choices, said, ready.plan)


def _prepare(plan: WalkPlan, say: Callable[[str], None]) -> _Ready:
    kind = family(plan.model, plan.options, plan.interval)
    if plan.rule == "indicator" and not isinstance(kind, Lorentzian):
        raise ConfigError(f"rule indicator is of lorentzian, not of {plan.model}")
    if isinstance(kind, Lorentzian) and kind.given.form == "compat" and plan.rule != "indicator":
        raise ConfigError("lorentzian with form compat is walked by rule indicator only: it is no graph of one row")
    bar_ms = INTERVAL_MS[kind.interval]
    days = plan.days + EXTRA_DAYS
    candles = load_candles(plan.source, plan.symbol, kind.interval, as_of_ms=plan.as_of_ms, days=days, say=say)
    rule = TradeRule(hold_rows=kind.horizon_bars, cooldown_rows=plan.cooldown_rows)
    market = market_of(candles, bar_ms, plan.costs.round_trip_bp, rule)
    end = int(candles.open_ms[-1]) + bar_ms
    end -= end % DAY_MS
    first = max(int(candles.open_ms[0]), end - plan.days * DAY_MS)
    planned = windows(
        -(-first // DAY_MS) * DAY_MS,
        end,
        train_ms=plan.train_days * DAY_MS,
        test_ms=plan.test_days * DAY_MS,
        gap_ms=embargo_bars(kind) * bar_ms,
        bar_ms=bar_ms,
        expanding=plan.expanding,
    )
    return _Ready(kind, candles, market, planned, candles_sha256(candles))


def _indicated(plan: WalkPlan, ready: _Ready) -> Said:
    """The indicator on the whole history, cut to the test parts. Nothing is fitted, so there is nothing to choose."""
    kind, candles = ready.kind, ready.candles
    assert isinstance(kind, Lorentzian)
    x = indicator_inputs(candles.high, candles.low, candles.close)
    if kind.given.form == "compat":
        scores = compat_scores(x, contrarian_labels(candles.close), kind.given.k, kind.given.memory)
    else:
        labels = forward_labels(candles.close, kind.given.horizon)
        scores = proper_scores(x, labels, kind.given.k, kind.given.memory, kind.given.spacing, kind.given.horizon)
    entering = entries(scores, filters_of(candles)).astype(np.float64)
    at_ms = candles.open_ms + ready.market.bar_ms
    inside = (at_ms >= ready.plan[0].test_from_ms) & (at_ms < ready.plan[-1].test_to_ms)
    share = scores[inside] / kind.given.k
    up, down = np.maximum(share, 0.0), np.maximum(-share, 0.0)
    votes = np.stack([down, 1.0 - up - down, up], axis=1)
    return Said(at_ms[inside], votes, np.zeros(int(inside.sum())), entering[inside])


def _claim(out: Path, asked: str) -> None:
    file = out / ASKED
    if file.exists():
        if file.read_text().strip() != asked:
            raise ConfigError(f"--out {out}: holds another walk-forward; choose another directory")
        return
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"--out {out}: exists and is not an empty directory; choose another one")
    make_private(out / PARTS)
    write_atomic(file, f"{asked}\n".encode())


def _part(out: Path, window: Window, suffix: str) -> Path:
    return out / PARTS / f"w{window.number:03d}.{suffix}"


def _done(out: Path, window: Window) -> WindowChoice | None:
    file = _part(out, window, "json")
    if not file.exists():
        return None
    try:
        return msgspec.json.decode(file.read_bytes(), type=WindowChoice)
    except msgspec.DecodeError as error:
        raise DataError(f"{file}: {error}; delete it and the window is walked again") from error


_COLUMNS = ("at_ms", "p_down", "p_neutral", "p_up", "expected_bp", "signal")


def _table(said: Said) -> bytes:
    columns = [said.at_ms, *said.probabilities.T, said.expected_bp, said.signal]
    buffer = io.BytesIO()
    pq.write_table(pa.table(dict(zip(_COLUMNS, map(pa.array, columns), strict=True))), buffer, compression="zstd")
    return buffer.getvalue()


def _joined(files: list[Path]) -> Said:
    """What all windows said, one after the other."""
    table = pa.concat_tables([pq.read_table(file) for file in files])
    at_ms, *p, expected, signal = (table.column(name).to_numpy() for name in _COLUMNS)
    return Said(at_ms, np.stack(p, axis=1), expected, signal)
