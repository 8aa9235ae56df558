"""Files that may stand beside a run: what else was tried, how it fared under stress, which windows it was put together
from. Read by its report."""

from __future__ import annotations

from pathlib import Path
from typing import Final, TypeVar

import msgspec

from tradebot.errors import DataError
from tradebot.evaluation.walkforward import Window
from tradebot.ops.files import write_atomic

TRIALS: Final = "trials.json"
STRESSES: Final = "stress.json"
WALK: Final = "walkforward.json"
CAUTIONS: Final = "cautions.json"


class Trials(msgspec.Struct, frozen=True):
    """How many configurations were tried before this one was chosen, on which data.

    ``sharpes``: Sharpe per day of each that has one, over the span the choice was made on. ``overfitting``: probability
    of back-test overfitting among them; None: too few to tell.
    """

    count: int
    sharpes: tuple[float, ...] = ()
    overfitting: float | None = None
    span: str = ""


class StressRow(msgspec.Struct, frozen=True):
    """A run under ``cost`` times the fees and slippage, every order ``delay_bars`` candles late. Net is USDT."""

    cost: float
    delay_bars: int
    roi: float
    net: float
    sharpe: float | None
    max_drawdown: float
    expected_bp: float | None
    trades: int


class Stresses(msgspec.Struct, frozen=True):
    """``break_even_cost``: the multiple of the costs at which nothing would be earned; None: cannot be told."""

    rows: tuple[StressRow, ...]
    break_even_cost: float | None = None


class Walk(msgspec.Struct, frozen=True, kw_only=True):
    """What a walk-forward was asked for; another one is not continued in its directory."""

    asked: str
    from_ms: int
    to_ms: int
    windows: tuple[Window, ...]


class Cautions(msgspec.Struct, frozen=True):
    """What was done in a run that makes its figures better than they are, in words."""

    texts: tuple[str, ...]


D = TypeVar("D", Trials, Stresses, Walk, Cautions)


def read_beside(folder: Path, name: str, kind: type[D]) -> D | None:
    """The document, None where there is none. Raises DataError for one that cannot be read."""
    try:
        return msgspec.json.decode((folder / name).read_bytes(), type=kind)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        raise DataError(f"{folder / name}: cannot be read ({error}); remove it or make it again") from None


def write_beside(folder: Path, name: str, document: Trials | Stresses | Walk | Cautions) -> None:
    """Write it in one piece. Raises DataError or BusyError when the disk refuses."""
    write_atomic(folder / name, msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n")
