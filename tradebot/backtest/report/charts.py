"""Plots as inline SVG, drawn by hand: no script, no font, no file beside the page. Colours come from the page's CSS."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape

import numpy as np

from tradebot.backtest.run import Floats, Ints

WIDTH = 960
LEFT, RIGHT, TOP, BOTTOM = 64, 12, 10, 24
MOST_POINTS = 700
DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class Line:
    """A curve of a plot: ``css`` names its colour class, ``area`` fills down to ``base``."""

    name: str
    css: str
    x: Ints | Floats
    y: Floats
    area: bool = False
    base: float = 0.0


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers that divide a range.

    >>> ticks(0.0, 9.3), ticks(0.93, 1.11, 4)
    ([0.0, 2.0, 4.0, 6.0, 8.0], [0.95, 1.0, 1.05, 1.1])
    """
    if not high > low:
        return [low]
    rough = (high - low) / about
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(size * m for m in (1, 2, 5, 10) if size * m >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    count = math.floor(high / step + 1e-9) - first + 1
    return [round((first + i) * step, 12) for i in range(count)]


def time_ticks(from_ms: int, to_ms: int) -> list[tuple[int, str]]:
    """Moments with their labels: hours, days or months, whatever leaves about eight of them."""
    span = to_ms - from_ms
    for step in (1, 3, 6, 12, 24, 48, 168, 336):
        size = step * 3_600_000
        if span / size <= 9:
            first = -(-from_ms // size) * size
            shape = "%d %b %H:%M" if step < 24 else "%d %b"
            return [
                (ms, datetime.fromtimestamp(ms / 1000, UTC).strftime(shape)) for ms in range(first, to_ms + 1, size)
            ]
    found: list[tuple[int, str]] = []
    start = datetime.fromtimestamp(from_ms / 1000, UTC)
    year, month = start.year, start.month
    skip = max(1, math.ceil(span / (31 * DAY_MS) / 9))
    while True:
        month += skip
        year, month = year + (month - 1) // 12, (month - 1) % 12 + 1
        ms = int(datetime(year, month, 1, tzinfo=UTC).timestamp() * 1000)
        if ms > to_ms:
            return found
        found.append((ms, datetime(year, month, 1, tzinfo=UTC).strftime("%b %Y")))


def thinned(x: Ints | Floats, y: Floats, most: int = MOST_POINTS) -> tuple[Ints | Floats, Floats]:
    """At most about ``2 * most`` points that look the same: the lowest and the highest of every stretch."""
    if len(x) <= 2 * most:
        return x, y
    edges = np.linspace(0, len(x), most + 1).astype(int)
    keep: set[int] = {0, len(x) - 1}
    for a, b in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        part = y[a:b]
        if np.isfinite(part).any():
            keep |= {a + int(np.nanargmin(part)), a + int(np.nanargmax(part))}
    at = np.array(sorted(keep))
    return x[at], y[at]


def averaged(x: Ints, y: Floats, most: int = 320) -> tuple[Ints, Floats]:
    """At most ``most`` means of even stretches: what a curve that jumps up and down all the time comes to."""
    if len(x) <= most:
        return x, y
    edges = np.linspace(0, len(x), most + 1).astype(np.int64)
    sums = np.add.reduceat(y, edges[:-1]) / np.diff(edges)
    return x[edges[:-1]], sums


def time_plot(
    lines: Sequence[Line],
    *,
    height: int,
    label: Callable[[float], str],
    title: str,
    zero: float | None = None,
    with_times: bool = True,
) -> str:
    """Curves over time. ``zero`` draws a line there and keeps it in view; ``title`` is read out by screen readers."""
    known = [line for line in lines if np.isfinite(line.y).any()]
    if not known:
        return _empty(height, title)
    low = min(float(np.nanmin(line.y)) for line in known)
    high = max(float(np.nanmax(line.y)) for line in known)
    if zero is not None:
        low, high = min(low, zero), max(high, zero)
    low, high = _roomy(low, high)
    from_ms = min(int(line.x[0]) for line in known)
    to_ms = max(max(int(line.x[-1]) for line in known), from_ms + 1)
    bottom = height - (BOTTOM if with_times else 6)

    def px(value: float) -> float:
        return LEFT + (value - from_ms) / (to_ms - from_ms) * (WIDTH - LEFT - RIGHT)

    def py(value: float) -> float:
        return TOP + (high - value) / (high - low) * (bottom - TOP)

    parts = [_rows(ticks(low, high, max(2, height // 50)), py, label)]
    if with_times:
        parts += [_tick(px(ms), bottom, text) for ms, text in time_ticks(from_ms, to_ms)]
    if zero is not None:
        parts.append(f'<path class="zero" d="M{LEFT} {py(zero):.1f}H{WIDTH - RIGHT}"/>')
    for line in known:
        x, y = thinned(line.x, line.y)
        if line.area:
            parts.append(f'<path class="area {line.css}" d="{_area(x, y, line.base, px, py)}"/>')
        path = _path(x, y, px, py)
        parts.append(f'<path class="line {line.css}" d="{path}"><title>{escape(line.name)}</title></path>')
    return _svg(height, title, parts)


def scatter(
    groups: Sequence[tuple[str, str, Floats, Floats]], *, height: int, title: str, x_name: str, y_name: str
) -> str:
    """Points ``(name, css, x, y)``; x is above 0 and on a scale of powers, y counts from a line at 0."""
    known = [(name, css, x, y) for name, css, x, y in groups if len(x)]
    if not known:
        return _empty(height, title)
    xs, ys = np.concatenate([g[2] for g in known]), np.concatenate([g[3] for g in known])
    least, most = math.log10(max(float(xs.min()), 1e-3)), math.log10(max(float(xs.max()), 2e-3))
    room = max(0.05, (1.0 - (most - least)) / 2)  # a decade at least, so that one holding time stands in the middle
    least, most = least - room, most + room
    low, high = _roomy(min(float(ys.min()), 0.0), max(float(ys.max()), 0.0))
    bottom = height - BOTTOM - 14

    def px(value: float) -> float:
        return LEFT + (math.log10(max(value, 1e-3)) - least) / (most - least) * (WIDTH - LEFT - RIGHT)

    def py(value: float) -> float:
        return TOP + (high - value) / (high - low) * (bottom - TOP)

    parts = [_rows(ticks(low, high), py, lambda v: f"{v:g}")]
    for power in range(math.floor(least), math.ceil(most) + 1):
        for m in (1, 2, 5):
            value = m * 10.0**power
            if least <= math.log10(value) <= most:
                parts.append(_tick(px(value), bottom, f"{value:g}"))
    parts.append(f'<path class="zero" d="M{LEFT} {py(0.0):.1f}H{WIDTH - RIGHT}"/>')
    parts.append(f'<text class="axis" x="{WIDTH - RIGHT}" y="{height - 4}" text-anchor="end">{escape(x_name)}</text>')
    parts.append(f'<text class="axis" x="{LEFT + 4}" y="{TOP + 8}">{escape(y_name)}</text>')
    radius = 3.0 if len(xs) < 400 else 2.0
    for name, css, x, y in known:
        dots = "".join(
            f'<circle cx="{px(a):.1f}" cy="{py(b):.1f}" r="{radius}"/>'
            for a, b in zip(x.tolist(), y.tolist(), strict=True)
        )
        parts.append(f'<g class="dots {css}"><title>{escape(name)}</title>{dots}</g>')
    return _svg(height, title, parts)


def waterfall(steps: Sequence[tuple[str, float]], total: str, *, title: str, label: Callable[[float], str]) -> str:
    """Bars that go on where the one before ended, and what they add up to."""
    rows = [*steps, (total, sum(value for _, value in steps))]
    levels = np.concatenate(([0.0], np.cumsum([value for _, value in steps])))
    low, high = min(0.0, float(levels.min())), max(0.0, float(levels.max()))
    high = high if high > low else low + 1.0
    names, values = 170, 110
    height = TOP + len(rows) * 30 + 6

    def px(value: float) -> float:
        return names + (value - low) / (high - low) * (WIDTH - names - values)

    parts = [f'<path class="zero" d="M{px(0.0):.1f} {TOP}V{height - 6}"/>']
    for i, (name, value) in enumerate(rows):
        start = 0.0 if i == len(steps) else float(levels[i])
        a, b = sorted((px(start), px(start + value)))
        y = TOP + i * 30
        css = "sum" if i == len(steps) else "gain" if value > 0 else "loss"
        parts.append(f'<text class="axis" x="{names - 10}" y="{y + 16}" text-anchor="end">{escape(name)}</text>')
        parts.append(f'<rect class="bar {css}" x="{a:.1f}" y="{y + 2}" width="{max(b - a, 1.0):.1f}" height="20"/>')
        parts.append(
            f'<text class="axis value" x="{WIDTH}" y="{y + 16}" text-anchor="end">{escape(label(value))}</text>'
        )
    return _svg(height, title, parts)


def strip(low: float, median: float, high: float, own: float, *, title: str, label: Callable[[float], str]) -> str:
    """A range with its middle, and where one value lies in or beside it."""
    least, most = _roomy(min(low, own, 0.0), max(high, own, 0.0))
    height = 64

    def px(value: float) -> float:
        return LEFT + (value - least) / (most - least) * (WIDTH - LEFT - RIGHT)

    parts = [_tick(px(value), height - BOTTOM, label(value)) for value in ticks(least, most, 6)]
    parts.append(f'<rect class="bar chance" x="{px(low):.1f}" y="16" width="{px(high) - px(low):.1f}" height="14"/>')
    parts.append(f'<path class="line chance" d="M{px(median):.1f} 13V33"><title>middle of chance</title></path>')
    parts.append(f'<path class="line own" d="M{px(own):.1f} 8V38"><title>the run</title></path>')
    return _svg(height, title, parts)


def _roomy(low: float, high: float) -> tuple[float, float]:
    room = (high - low) * 0.04 or max(abs(high) * 0.01, 1e-6)
    return low - room, high + room


def _rows(values: list[float], py: Callable[[float], float], label: Callable[[float], str]) -> str:
    return "".join(
        f'<path class="grid" d="M{LEFT} {py(v):.1f}H{WIDTH - RIGHT}"/>'
        f'<text class="axis" x="{LEFT - 6}" y="{py(v) + 4:.1f}" text-anchor="end">{escape(label(v))}</text>'
        for v in values
    )


def _tick(x: float, bottom: float, text: str) -> str:
    anchor = "end" if x > WIDTH - 40 else "middle"
    return (
        f'<path class="grid" d="M{x:.1f} {bottom:.1f}v4"/>'
        f'<text class="axis" x="{x:.1f}" y="{bottom + 16:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
    )


def _path(x: Ints | Floats, y: Floats, px: Callable[[float], float], py: Callable[[float], float]) -> str:
    """Points in order; a gap where a value is not known."""
    parts, pen = [], "M"
    for a, b in zip(x.tolist(), y.tolist(), strict=True):
        if math.isfinite(b):
            parts.append(f"{pen}{px(a):.1f} {py(b):.1f}")
            pen = "L"
        else:
            pen = "M"
    return "".join(parts)


def _area(x: Ints | Floats, y: Floats, base: float, px: Callable[[float], float], py: Callable[[float], float]) -> str:
    known = np.isfinite(y)
    a, b, ground = x[known], y[known], py(base)
    first, last = px(float(a[0])), px(float(a[-1]))
    return f"M{first:.1f} {ground:.1f}{_path(a, b, px, py).replace('M', 'L', 1)}L{last:.1f} {ground:.1f}Z"


def _empty(height: int, title: str) -> str:
    text = f'<text class="axis" x="{WIDTH // 2}" y="{height // 2}" text-anchor="middle">nothing to show</text>'
    return _svg(height, title, [text])


def _svg(height: int, title: str, parts: Sequence[str]) -> str:
    name = escape(title, quote=True)
    return f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{name}">{"".join(parts)}</svg>'
