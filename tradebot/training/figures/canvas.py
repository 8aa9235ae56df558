"""A picture of pixels: lines, boxes and small text, written as PNG (ISO 15948)."""

from __future__ import annotations

import struct
import zlib
from typing import Final

import numpy as np
import numpy.typing as npt

Colour = tuple[int, int, int]

INK: Final[Colour] = (33, 37, 41)
FAINT: Final[Colour] = (222, 226, 230)
GREY: Final[Colour] = (134, 142, 150)
SERIES: Final[tuple[Colour, ...]] = ((25, 113, 194), (224, 49, 49), (47, 158, 68), (240, 140, 0), (112, 72, 232))

GLYPH_WIDTH, GLYPH_HEIGHT, SCALE = 6, 8, 2
CHARACTER: Final = GLYPH_WIDTH * SCALE
"""Pixels that one character takes."""


class Canvas:
    """``width`` × ``height`` pixels, white; x to the right, y downwards."""

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self._pixels: npt.NDArray[np.float64] = np.full((height, width, 3), 255.0)

    def line(self, x0: float, y0: float, x1: float, y1: float, colour: Colour, thickness: float = 1.6) -> None:
        """A straight line with soft edges; what lies outside the picture is cut off."""
        reach = thickness / 2 + 1
        left, right = max(0, int(min(x0, x1) - reach)), min(self.width - 1, int(max(x0, x1) + reach) + 1)
        top, bottom = max(0, int(min(y0, y1) - reach)), min(self.height - 1, int(max(y0, y1) + reach) + 1)
        if left > right or top > bottom:
            return
        y, x = np.mgrid[top : bottom + 1, left : right + 1].astype(np.float64)
        dx, dy = x1 - x0, y1 - y0
        length = dx * dx + dy * dy
        along = np.clip(((x - x0) * dx + (y - y0) * dy) / length, 0, 1) if length else np.zeros_like(x)
        away = np.hypot(x - (x0 + along * dx), y - (y0 + along * dy))
        self._cover(slice(top, bottom + 1), slice(left, right + 1), np.clip(thickness / 2 + 0.5 - away, 0, 1), colour)

    def path(self, x: npt.NDArray[np.float64], y: npt.NDArray[np.float64], colour: Colour) -> None:
        """Lines through points; a point that is not finite breaks the path."""
        for i in range(len(x) - 1):
            if np.isfinite([x[i], y[i], x[i + 1], y[i + 1]]).all():
                self.line(float(x[i]), float(y[i]), float(x[i + 1]), float(y[i + 1]), colour)

    def dots(self, x: npt.NDArray[np.float64], y: npt.NDArray[np.float64], colour: Colour) -> None:
        """A round dot at each point that is finite."""
        for at, down in zip(x.tolist(), y.tolist(), strict=True):
            if np.isfinite([at, down]).all():
                self.line(at, down, at, down, colour, 8)

    def box(self, x0: float, y0: float, x1: float, y1: float, colour: Colour, opacity: float = 1.0) -> None:
        """A filled rectangle."""
        rows = slice(max(0, round(min(y0, y1))), max(0, round(max(y0, y1))))
        columns = slice(max(0, round(min(x0, x1))), max(0, round(max(x0, x1))))
        shape = self._pixels[rows, columns].shape[:2]
        self._cover(rows, columns, np.full(shape, opacity), colour)

    def text(self, x: float, y: float, text: str, colour: Colour = INK, anchor: float = 0.0) -> None:
        """``text`` with its top at ``y``; ``anchor`` 0: begins at ``x``, 0.5: centred there, 1: ends there."""
        at = round(x - anchor * (len(text) * CHARACTER - SCALE))
        for character in text:
            code = ord(character) - 32
            bits = _FONT[5 * code : 5 * code + 5] if 0 <= code < len(_FONT) // 5 else _FONT[155:160]
            for column, byte in enumerate(bits):
                for row in range(GLYPH_HEIGHT):
                    if byte >> row & 1:
                        left, top = at + column * SCALE, round(y) + row * SCALE
                        self.box(left, top, left + SCALE, top + SCALE, colour)
            at += CHARACTER

    def png(self) -> bytes:
        """The picture as a file."""
        pixels = np.clip(np.rint(self._pixels), 0, 255).astype(np.uint8)
        raw = np.concatenate([np.zeros((self.height, 1), np.uint8), pixels.reshape(self.height, -1)], axis=1)
        header = struct.pack(">IIBBBBB", self.width, self.height, 8, 2, 0, 0, 0)
        return (
            b"\x89PNG\r\n\x1a\n"
            + _chunk(b"IHDR", header)
            + _chunk(b"IDAT", zlib.compress(raw.tobytes(), 6))
            + _chunk(b"IEND", b"")
        )

    def _cover(self, rows: slice, columns: slice, opacity: npt.NDArray[np.float64], colour: Colour) -> None:
        part = self._pixels[rows, columns]
        part += opacity[..., None] * (np.array(colour, dtype=np.float64) - part)


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


_FONT: Final = bytes.fromhex(
    "".join(
        (
            "0000000000", "00005f0000", "0007000700", "147f147f14", "242a7f2a12", "2313086462", "3649562050",
            "0008070300", "001c224100", "0041221c00", "2a1c7f1c2a", "08083e0808", "0080703000", "0808080808",
            "0000606000", "2010080402", "3e5149453e", "00427f4000", "7249494946", "2141494d33", "1814127f10",
            "2745454539", "3c4a494931", "4121110907", "3649494936", "464949291e", "0000140000", "0040340000",
            "0008142241", "1414141414", "0041221408", "0201590906", "3e415d594e", "7c1211127c", "7f49494936",
            "3e41414122", "7f4141413e", "7f49494941", "7f09090901", "3e41415173", "7f0808087f", "00417f4100",
            "2040413f01", "7f08142241", "7f40404040", "7f021c027f", "7f0408107f", "3e4141413e", "7f09090906",
            "3e4151215e", "7f09192946", "2649494932", "03017f0103", "3f4040403f", "1f2040201f", "3f4038403f",
            "6314081463", "0304780403", "6159494d43", "007f414141", "0204081020", "004141417f", "0402010204",
            "4040404040", "0003070800", "2054547840", "7f28444438", "3844444428", "384444287f", "3854545418",
            "00087e0902", "18a4a49c78", "7f08040478", "00447d4000", "2040403d00", "7f10284400", "00417f4000",
            "7c04780478", "7c08040478", "3844444438", "fc18242418", "18242418fc", "7c08040408", "4854545424",
            "04043f4424", "3c4040207c", "1c2040201c", "3c4030403c", "4428102844", "4c9090907c", "4464544c44",
            "0008364100", "0000770000", "0041360800", "0201020402",
        )
    )
)  # fmt: skip
"""Five columns of eight dots a character, from the space on (the usual 5 × 7 font of LCD modules)."""
