"""A straight line through logarithms, and the hours of the day: what a booster of volatility starts from.

Log volatility is close to linear in the logs of past volatilities (Corsi 2009, HAR) and has a daily shape fine to the
candle: both are what trees draw badly, in steps. The line is a weighted ridge regression; its shape over time of day,
apart for weekends, is kept as a table by weekday and candle of the day. All in double precision, here and in the graph.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from onnx import TensorProto, helper, numpy_helper

from tradebot.forecasters.base import Floats, Rows

LOGGED: Final = (
    "rv_12",
    "rv_48",
    "rv_288",
    "parkinson_24",
    "garman_klass_24",
    "rogers_satchell_24",
    "atr_pct",
    "range_atr",
    "bb_width",
    "rv_24_1h",
    "vol_of_vol",
    "vol_ratio",
    "rv_ratio",
)
"""Positive features: ln(max(x, 1e-5))."""
SIZED: Final = (
    "ret_1",
    "ret_2",
    "ret_3",
    "ret_6",
    "ret_12",
    "ret_24",
    "gap",
    "ret_1_4h",
    "btc_ret_1",
    "btc_ret_12",
    "resid_12",
)
"""Returns, whose size counts: ln(abs(x) + 2e-4)."""
PLAIN: Final = (
    "vol_z_48",
    "vol_tod",
    "amihud_24",
    "bb_width_rank",
    "jump_48",
    "eff_ratio_24",
    "adx_14",
    "semivar_skew_48",
    "kyle_48",
    "rsi_14",
    "donchian_48",
    "macd_hist",
)
"""As they are."""
SMALLEST_LOG: Final = 1e-5
SMALLEST_SIZE: Final = 2e-4
FARTHEST: Final = 8.0
"""Standard deviations beyond which a feature counts as no farther."""

SLOTS: Final = 288
WEEKDAYS: Final = 7
HARMONICS: Final = (*range(1, 25), 36, 48, 60, 72, 84, 96, 120, 144)
"""Waves a day: up to one an hour, then those that a quarter, a half and a full hour make."""
WEEKEND_HARMONICS: Final = (1, 2, 3, 4)
RIDGE: Final = 30.0
SEASON_RIDGE: Final = 60.0
"""Penalties in rows of standardised features."""

_CLOCK: Final = ("hour_sin", "hour_cos")
_WEEK: Final = ("weekday_sin", "weekday_cos")


@dataclass(frozen=True, slots=True, eq=False)
class Line:
    """``logged``, ``sized``, ``plain``: columns of a row; ``mean``, ``deviation``, ``slope`` (K,): theirs, in order.
    ``season`` (7 · 288,) by weekday and candle of the day, Monday first, the intercept included."""

    logged: tuple[int, ...]
    sized: tuple[int, ...]
    plain: tuple[int, ...]
    mean: Floats
    deviation: Floats
    slope: Floats
    clock: tuple[int, int]
    week: tuple[int, int]
    season: Floats

    def __call__(self, rows: Rows) -> Floats:
        """The line's value at each row (N,)."""
        found: Floats = self._inputs(rows) @ self.slope + self.season[self.moment(rows)]
        return found

    def moment(self, rows: Rows) -> npt.NDArray[np.int64]:
        """Number of the weekday and candle of the day in which each row's candle opened."""
        slot = _nearest(rows, self.clock, SLOTS)
        return _nearest(rows, self.week, WEEKDAYS) * SLOTS + slot

    def _inputs(self, rows: Rows) -> Floats:
        return _standard(_drawn(rows, self.logged, self.sized, self.plain), self.mean, self.deviation)

    def nodes(self, source: str, target: str) -> tuple[list[Any], list[Any]]:
        """ONNX nodes and constants from float32 rows (B, F) to the line's value (B, 1) in double precision."""
        nodes: list[Any] = []
        constants: list[Any] = []

        def put(name: str, value: Any) -> str:
            constants.append(numpy_helper.from_array(np.asarray(value), f"{target}_{name}"))
            return f"{target}_{name}"

        def add(kind: str, takes: Sequence[str], name: str, **attributes: Any) -> str:
            nodes.append(helper.make_node(kind, list(takes), [name], name=name, **attributes))
            return name

        def columns(which: Sequence[int], name: str) -> str:
            where = put(f"{name}_at", np.array(which, dtype=np.int64))
            return add("Gather", [wide, where], f"{target}_{name}", axis=1)

        def known(what: str, name: str) -> str:
            missing = add("IsNaN", [what], f"{target}_{name}_missing")
            return add("Where", [missing, zero, what], f"{target}_{name}_known")

        wide = add("Cast", [source], f"{target}_rows", to=TensorProto.DOUBLE)
        zero = put("zero", 0.0)
        logs = add(
            "Log", [add("Max", [columns(self.logged, "l"), put("least", SMALLEST_LOG)], f"{target}_lm")], f"{target}_ln"
        )
        sizes = add(
            "Add", [add("Abs", [columns(self.sized, "s")], f"{target}_sa"), put("some", SMALLEST_SIZE)], f"{target}_ss"
        )
        drawn = add(
            "Concat", [logs, add("Log", [sizes], f"{target}_sl"), columns(self.plain, "p")], f"{target}_drawn", axis=1
        )
        centred = add("Sub", [drawn, put("mean", self.mean.reshape(1, -1))], f"{target}_centred")
        scaled = add("Div", [centred, put("deviation", self.deviation.reshape(1, -1))], f"{target}_scaled")
        near = add("Min", [known(scaled, "x"), put("far", FARTHEST)], f"{target}_near")
        clipped = add("Max", [near, put("farther", -FARTHEST)], f"{target}_clipped")
        straight = add("MatMul", [clipped, put("slope", self.slope.reshape(-1, 1))], f"{target}_straight")
        places = []
        for name, which, count in (("clock", self.clock, SLOTS), ("week", self.week, WEEKDAYS)):
            turned = add(
                "MatMul",
                [known(columns(which, name), name), put(f"{name}_circle", _circle(count))],
                f"{target}_{name}_turned",
            )
            places.append(add("ArgMax", [turned], f"{target}_{name}_place", axis=1, keepdims=0))
        days = add("Mul", [places[1], put("day", np.array(SLOTS, dtype=np.int64))], f"{target}_days")
        moment = add("Add", [days, places[0]], f"{target}_moment")
        season = add("Gather", [put("table", self.season.reshape(-1, 1)), moment], f"{target}_season", axis=0)
        add("Add", [straight, season], target)
        return nodes, constants


def fit_line(rows: Rows, target: Floats, weight: Floats, features: Sequence[str]) -> Line:
    """Weighted ridge regression of ``target`` (N,) on rows (N, F) and the time of their candles. A feature that is
    missing counts as its mean."""
    at = {name: i for i, name in enumerate(features)}
    logged, sized, plain = (tuple(at[n] for n in names if n in at) for names in (LOGGED, SIZED, PLAIN))
    clock, week = (at[_CLOCK[0]], at[_CLOCK[1]]), (at[_WEEK[0]], at[_WEEK[1]])
    drawn = _drawn(rows, logged, sized, plain)
    there = np.isfinite(drawn)
    count = np.maximum(there.sum(axis=0), 1)
    mean = np.where(there, drawn, 0.0).sum(axis=0) / count
    spread = np.sqrt(np.where(there, (drawn - mean) ** 2, 0.0).sum(axis=0) / count)
    deviation = np.where(spread > 1e-9, spread, 1.0)
    slot, day = _nearest(rows, clock, SLOTS), _nearest(rows, week, WEEKDAYS)
    x = np.concatenate([_standard(drawn, mean, deviation), _waves(slot, day), np.ones((len(rows), 1))], axis=1)
    straight = drawn.shape[1]
    penalty = np.concatenate([np.full(straight, RIDGE), np.full(x.shape[1] - straight - 1, SEASON_RIDGE), [0.0]])
    scaled = weight / float(weight.mean())
    weighted = x * scaled[:, None]
    solved = np.linalg.solve(weighted.T @ x + np.diag(penalty), weighted.T @ target)
    days, slots = np.divmod(np.arange(WEEKDAYS * SLOTS), SLOTS)
    season = _waves(slots, days) @ solved[straight:-1] + solved[-1]
    return Line(logged, sized, plain, mean, deviation, solved[:straight], clock, week, season)


def _drawn(rows: Rows, logged: Sequence[int], sized: Sequence[int], plain: Sequence[int]) -> Floats:
    wide = rows.astype(np.float64)
    parts = (
        np.log(np.maximum(wide[:, list(logged)], SMALLEST_LOG)),
        np.log(np.abs(wide[:, list(sized)]) + SMALLEST_SIZE),
        wide[:, list(plain)],
    )
    return np.concatenate(parts, axis=1)


def _standard(drawn: Floats, mean: Floats, deviation: Floats) -> Floats:
    scaled = (drawn - mean) / deviation
    return np.clip(np.where(np.isnan(scaled), 0.0, scaled), -FARTHEST, FARTHEST)


def _waves(slot: npt.NDArray[np.int64], day: npt.NDArray[np.int64]) -> Floats:
    turn = 2.0 * np.pi * slot / SLOTS
    weekend = (day >= 5).astype(np.float64)
    waves = [wave(k * turn) for k in HARMONICS for wave in (np.sin, np.cos)]
    return np.stack(
        [*waves, weekend, *(weekend * wave(k * turn) for k in WEEKEND_HARMONICS for wave in (np.sin, np.cos))], axis=1
    )


def _circle(count: int) -> Floats:
    turn = 2.0 * np.pi * np.arange(count) / count
    return np.stack([np.sin(turn), np.cos(turn)])


def _nearest(rows: Rows, columns: tuple[int, int], count: int) -> npt.NDArray[np.int64]:
    """Which of ``count`` points on the circle a (sine, cosine) pair is nearest to; the first where it is missing."""
    pair = np.nan_to_num(rows[:, list(columns)].astype(np.float64))
    found: npt.NDArray[np.int64] = np.argmax(pair @ _circle(count), axis=1)
    return found
