"""Charts on a canvas: curves over numbers or time, shares over shares, and bars."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from tradebot.forecasters.base import Floats
from tradebot.training.figures.canvas import CHARACTER, FAINT, GREY, INK, SERIES, Canvas

WIDTH, HEIGHT = 960, 540
LEFT, RIGHT, TOP, BOTTOM = 130, 30, 60, 70
MOST_POINTS = 700
"""A curve of more points is thinned: no picture shows them."""


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """``y`` over ``x``; NaN leaves a hole. ``low`` and ``high``: an interval drawn around it. ``dots``: points alone,
    where there is nothing between them."""

    x: Floats
    y: Floats
    low: Floats | None = None
    high: Floats | None = None
    dots: bool = False


def curves(
    title: str,
    shown: Mapping[str, Curve],
    *,
    across: str,
    up: str,
    level: float | None = None,
    marked: tuple[float, str] | None = None,
    time: bool = False,
    whole: bool = False,
) -> bytes:
    """A PNG of named curves. ``across`` and ``up`` say what the axes are, with their units. ``level``: a horizontal
    line to compare with; ``marked``: a vertical one, at its x, and what it says. ``time``: x is ms since the epoch;
    ``whole``: x counts something."""
    canvas = Canvas(WIDTH, HEIGHT)
    known = {name: _thinned(curve) for name, curve in shown.items()}
    x_range = _range([c.x for c in known.values()], [])
    y_range = _range(
        [v for c in known.values() for v in (c.y, c.low, c.high) if v is not None], [] if level is None else [level]
    )
    _frame(canvas, title, across, up, x_range, y_range, time=time, whole=whole)
    if level is not None:
        y = _down(np.array([level]), y_range)[0]
        canvas.line(LEFT, y, WIDTH - RIGHT, y, GREY)
    if marked is not None:
        x = _over(np.array([marked[0]]), x_range)[0]
        canvas.line(x, TOP, x, HEIGHT - BOTTOM, GREY)
        canvas.text(x + 6 if x < WIDTH / 2 else x - 6, TOP + 4, marked[1], GREY, anchor=float(x >= WIDTH / 2))
    for number, (name, curve) in enumerate(known.items()):
        colour = SERIES[number % len(SERIES)]
        x = _over(curve.x, x_range)
        if curve.low is not None and curve.high is not None:
            for at, low, high in zip(x, _down(curve.low, y_range), _down(curve.high, y_range), strict=True):
                if np.isfinite([at, low, high]).all():
                    canvas.line(at, low, at, high, FAINT, 3)
        y = _down(curve.y, y_range)
        if curve.dots or len(x) == 1:
            canvas.dots(x, y, colour)
        else:
            canvas.path(x, y, colour)
        beside = sum(len(other) + 2 for other in list(known)[number + 1 :]) * CHARACTER
        canvas.text(WIDTH - RIGHT - beside, TOP - 30, name, colour, anchor=1.0)
    return canvas.png()


def bars(title: str, shares: Sequence[tuple[str, float]], *, across: str) -> bytes:
    """A PNG of named shares, largest first as given, as bars to the right."""
    canvas = Canvas(WIDTH, max(HEIGHT, TOP + BOTTOM + 22 * len(shares)))
    canvas.text(WIDTH / 2, 18, title, anchor=0.5)
    canvas.text(WIDTH / 2, canvas.height - 28, across, GREY, anchor=0.5)
    room = max((len(name) for name, _ in shares), default=1) * CHARACTER + 20
    most = max((share for _, share in shares), default=0.0) or 1.0
    for number, (name, share) in enumerate(shares):
        y = TOP + 22 * number
        canvas.text(room - 10, y, name, INK, anchor=1.0)
        canvas.box(room, y, room + (WIDTH - RIGHT - 90 - room) * share / most, y + 16, SERIES[0])
        canvas.text(room + (WIDTH - RIGHT - 90 - room) * share / most + 8, y, f"{share:.3g}", GREY)
    return canvas.png()


def _frame(
    canvas: Canvas,
    title: str,
    across: str,
    up: str,
    x: tuple[float, float],
    y: tuple[float, float],
    *,
    time: bool,
    whole: bool,
) -> None:
    canvas.text(WIDTH / 2, 8, title, anchor=0.5)
    canvas.text(WIDTH / 2, HEIGHT - 26, across, GREY, anchor=0.5)
    canvas.text(8, TOP - 30, up, GREY)
    for value in ticks(*y):
        at = _down(np.array([value]), y)[0]
        canvas.line(LEFT, at, WIDTH - RIGHT, at, FAINT, 1)
        canvas.text(LEFT - 10, at - 7, f"{value:.5g}", GREY, anchor=1.0)
    marks = np.linspace(*x, 5).tolist() if time else ticks(*x)
    for value in marks if not whole else [mark for mark in marks if mark == round(mark)]:
        at = _over(np.array([value]), x)[0]
        canvas.line(at, HEIGHT - BOTTOM, at, HEIGHT - BOTTOM + 6, GREY, 1)
        text = datetime.fromtimestamp(value / 1000, UTC).strftime("%Y-%m-%d") if time else f"{value:.5g}"
        canvas.text(min(at, WIDTH - 70), HEIGHT - BOTTOM + 12, text, GREY, anchor=0.5)
    canvas.line(LEFT, TOP, LEFT, HEIGHT - BOTTOM, GREY, 1)
    canvas.line(LEFT, HEIGHT - BOTTOM, WIDTH - RIGHT, HEIGHT - BOTTOM, GREY, 1)


def ticks(low: float, high: float) -> list[float]:
    """About five round numbers between two.

    >>> ticks(0.0, 1.0)
    [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    """
    step = 10.0 ** np.floor(np.log10((high - low) / 5))
    step = next(step * factor for factor in (1, 2, 5, 10) if (high - low) / (step * factor) <= 5.001)
    first = np.ceil(low / step - 1e-9)
    return [round(float(k * step), 12) + 0.0 for k in np.arange(first, high / step + 1e-9)]


def _thinned(curve: Curve) -> Curve:
    stride = max(1, -(-len(curve.x) // MOST_POINTS))
    low = None if curve.low is None else curve.low[::stride]
    high = None if curve.high is None else curve.high[::stride]
    return Curve(curve.x[::stride], curve.y[::stride], low, high, curve.dots)


def _range(columns: Sequence[Floats], further: Sequence[float]) -> tuple[float, float]:
    values = np.concatenate([np.asarray(column, dtype=np.float64) for column in (*columns, further)])
    values = values[np.isfinite(values)]
    if not len(values):
        return 0.0, 1.0
    low, high = float(values.min()), float(values.max())
    room = (high - low) * 0.04 or max(abs(high) * 0.1, 1e-9)
    return low - room, high + room


def _over(x: Floats, bounds: tuple[float, float]) -> Floats:
    placed: Floats = LEFT + (x - bounds[0]) / (bounds[1] - bounds[0]) * (WIDTH - LEFT - RIGHT)
    return placed


def _down(y: Floats, bounds: tuple[float, float]) -> Floats:
    placed: Floats = HEIGHT - BOTTOM - (y - bounds[0]) / (bounds[1] - bounds[0]) * (HEIGHT - TOP - BOTTOM)
    return placed
