"""What commands print: JSON Lines, aligned tables, and a little colour where a person looks."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from typing import Any, Literal, TextIO

Style = Literal["good", "bad", "warn", "dim", "bold"]

_CODES: dict[Style, str] = {"good": "32", "bad": "31", "warn": "33", "dim": "2", "bold": "1"}


def coloured(stream: TextIO | None = None) -> bool:
    """Whether ``stream`` (default stdout) shows colours: a terminal, without NO_COLOR (https://no-color.org)."""
    target = sys.stdout if stream is None else stream
    return target.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def paint(text: str, style: Style | None, stream: TextIO | None = None) -> str:
    """``text`` in a style if the stream shows colours."""
    return f"\x1b[{_CODES[style]}m{text}\x1b[0m" if style and coloured(stream) else text


def line(text: str = "") -> None:
    """One line of data on stdout, at once, so that a pipe sees it."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def json_line(value: Any) -> None:
    """One JSON object on one line. Decimals become text, exact to the last digit."""
    import msgspec

    line(msgspec.json.encode(value, enc_hook=str).decode())


def table(header: Sequence[str], rows: Iterable[Sequence[object]], right: Iterable[int] = ()) -> None:
    """Columns aligned by two spaces; those in ``right`` to the right. Nothing is ever cut off."""
    body = [[str(cell) for cell in row] for row in rows]
    widths = [max(len(cells[i]) for cells in [list(header), *body]) for i in range(len(header))]
    to_right = set(right)

    def laid_out(cells: Sequence[str]) -> str:
        return "  ".join(
            cell.rjust(width) if i in to_right else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ).rstrip()

    line(paint(laid_out([name.upper() for name in header]), "dim"))
    for cells in body:
        line(laid_out(cells))


def pairs(items: Iterable[tuple[str, object]]) -> None:
    """``name  value`` lines with the values in one column."""
    known = list(items)
    width = max((len(name) for name, _ in known), default=0)
    for name, value in known:
        line(f"{paint(name.ljust(width), 'dim')}  {value}")


def progress(text: str) -> None:
    """One line about what is going on, on stderr."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()
