"""Pictures are PNG files that decode, and show what they are given."""

from __future__ import annotations

import struct
import zlib

import numpy as np

from tradebot.training.figures.canvas import CHARACTER, GREY, INK, SERIES, Canvas
from tradebot.training.figures.charts import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Curve, bars, curves
from tradebot.training.figures.draw import reliability


def pixels(png: bytes) -> np.ndarray:
    """A decoder of its own for the kind of file written here; every checksum is looked at."""
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    at, chunks = 8, {}
    while at < len(png):
        size, kind = struct.unpack(">I4s", png[at : at + 8])
        content = png[at + 8 : at + 8 + size]
        assert struct.unpack(">I", png[at + 8 + size : at + 12 + size])[0] == zlib.crc32(kind + content)
        chunks[kind] = content
        at += 12 + size
    width, height, depth, colour = struct.unpack(">IIBB", chunks[b"IHDR"][:10])
    assert (depth, colour) == (8, 2)
    raw = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(height, 1 + 3 * width)
    assert (raw[:, 0] == 0).all()
    return raw[:, 1:].reshape(height, width, 3)


def places(picture: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    return np.argwhere((picture == np.array(colour)).all(axis=2))


def test_lines_and_letters_are_where_they_were_drawn() -> None:
    canvas = Canvas(100, 60)
    canvas.line(10, 30, 90, 30, SERIES[0], 2)
    canvas.text(20, 5, "H", INK)
    picture = pixels(canvas.png())
    line = places(picture, SERIES[0])
    assert set(line[:, 0].tolist()) <= {29, 30, 31}
    assert line[:, 1].min() <= 11
    assert line[:, 1].max() >= 89
    letter = places(picture, INK)
    assert (letter.min(axis=0).tolist(), letter.max(axis=0).tolist()) == ([5, 20], [18, 29])


def test_a_rising_curve_rises_and_a_hole_stays_a_hole() -> None:
    x = np.arange(101.0)
    y = x.copy()
    y[40:60] = np.nan
    picture = pixels(curves("up", {"one": Curve(x, y)}, across="x", up="y"))
    assert picture.shape == (HEIGHT, WIDTH, 3)
    drawn = places(picture, SERIES[0])
    left, right = drawn[drawn[:, 1] < 400], drawn[drawn[:, 1] > 700]
    assert left[:, 0].min() > right[:, 0].max(), "small values are low in the picture"
    assert len(drawn[(drawn[:, 1] > 490) & (drawn[:, 1] < 560)]) == 0


def test_one_curve_has_a_name_too_and_dots_have_nothing_between_them() -> None:
    x = np.array([1.0, 2.0, 3.0])
    shown = {"trial": Curve(x, np.array([1.0, np.nan, 2.0]), dots=True)}
    picture = pixels(curves("t", shown, across="trial", up="nats", marked=(1.5, "kept: 1"), whole=True))
    drawn = places(picture, SERIES[0])
    name, points = drawn[drawn[:, 0] < TOP - 10], drawn[drawn[:, 0] >= TOP]
    assert len(name) > 50
    assert name[:, 1].min() > WIDTH - RIGHT - 6 * CHARACTER
    columns = sorted(set(points[:, 1].tolist()))
    assert columns[-1] - columns[0] > 0.85 * (WIDTH - LEFT - RIGHT)
    assert len(columns) <= 20  # two dots, a hole where there is no number
    grey = places(picture, GREY)
    beside = grey[(grey[:, 0] > TOP + 2) & (grey[:, 0] < TOP + 22) & (grey[:, 1] > LEFT + 220)]
    assert len(beside) > 60  # what the vertical line says
    below = grey[(grey[:, 0] > HEIGHT - BOTTOM + 8) & (grey[:, 0] < HEIGHT - BOTTOM + 30)]
    assert len(np.flatnonzero(np.diff(np.unique(below[:, 1])) > 100)) == 2  # 1, 2 and 3, no 1.5


def test_bars_are_as_long_as_what_they_stand_for() -> None:
    picture = pixels(bars("shares", [("a", 1.0), ("b", 0.5)], across="share"))
    drawn = places(picture, SERIES[0])
    first, second = drawn[drawn[:, 0] < 80], drawn[drawn[:, 0] >= 80]
    lengths = [part[:, 1].max() - part[:, 1].min() for part in (first, second)]
    assert abs(lengths[1] / lengths[0] - 0.5) < 0.02


def test_a_reliability_diagram_of_equal_probabilities_and_one_without_a_value_can_be_drawn() -> None:
    pixels(reliability(np.full(100, 0.3), np.arange(100) % 3 == 0, "flat"))
    pixels(curves("nothing", {"one": Curve(np.zeros(0), np.zeros(0))}, across="x", up="y", time=True))
