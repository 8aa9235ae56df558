"""Does a strategy look ahead, and does it remember where it began? Told by running it on less.

*Look-ahead*: the market is cut off at some moments; what was decided before each must be what was decided when the
market went on. *Recursion*: the run begins later; from some moment on it must decide as the run that began earlier, or
it depends on where it began, and so does a bot that is restarted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import msgspec

from tradebot.backtest.run import Run, RunFolder
from tradebot.backtest.single import Progress, Spec, Training, run_backtest
from tradebot.errors import DataError

DECIDED: Final = ("ts_ms", "symbol", "action", "reason", "expected_bp", "p_up", "p_down", "model", "version")
"""What a strategy saw and wanted: all that a cut may not change. Sizes follow from the account, ids from counting."""
WANTED: Final = ("action", "expected_bp", "p_up", "p_down", "model", "version")
"""What a later start must come to agree on: reasons may count candles since the entry, or since the start."""

Row = tuple[Any, ...]


class Parting(msgspec.Struct, frozen=True):
    """The first decision that differs: of which moment and symbol, in what, and how it read in both runs."""

    at_ms: int
    symbol: str
    field: str
    whole: str
    cut: str


class LookAhead(msgspec.Struct, frozen=True):
    """The market was cut at ``cut_ms``: how many decisions before it were compared, and where they part."""

    cut_ms: int
    decisions: int
    parting: Parting | None


class Recursion(msgspec.Struct, frozen=True):
    """The run began ``later_ms`` later: decisions compared, how many differ, when the last one did.

    ``settled_ms`` is how long after its start it decided otherwise for the last time (0: never), None where it still
    did in the last tenth of the span: it does not settle.
    """

    later_ms: int
    decisions: int
    different: int
    settled_ms: int | None
    parting: Parting | None


class Checked(msgspec.Struct, frozen=True):
    """What a check found. ``foresight``: models that had seen later prices, in words. ``sound``: nothing looked ahead,
    and every later start settled."""

    strategy: str
    from_ms: int
    to_ms: int
    decisions: int
    acted: int
    look_ahead: tuple[LookAhead, ...]
    recursion: tuple[Recursion, ...]
    foresight: tuple[str, ...] = ()

    @property
    def sound(self) -> bool:
        settled = all(found.settled_ms is not None for found in self.recursion)
        return settled and not self.foresight and all(found.parting is None for found in self.look_ahead)


def check_strategy(
    spec: Spec,
    folder: Path,
    training: Callable[[Run], Training | None],
    first: Training | None,
    *,
    cuts: int = 3,
    starts: int = 2,
    on_run: Callable[[int, int], None] = lambda done, total: None,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    stop: Callable[[], bool] = lambda: False,
    knows: Callable[[Run], tuple[str, ...]] = lambda run: (),
) -> Checked | None:
    """Run ``spec`` whole, cut off at ``cuts`` moments, and begun later ``starts`` times; compare. None: stopped.

    ``first`` brings the models of the whole run, ``training`` the same ones again for the others. ``folder`` is where
    the runs are written; ``knows`` names models of the whole run that had seen later prices. Raises what
    ``run_backtest`` raises, DataError where the whole run decided nothing.
    """
    total = 1 + cuts + starts
    done = 0

    def run(name: str, asked: Spec, models: Training | None) -> tuple[Run, list[Row]] | None:
        nonlocal done
        outcome = run_backtest(asked, out=folder / name, on_progress=on_progress, stop=stop, training=models)
        done += 1
        on_run(done, total)
        if outcome is None or outcome.run.interrupted or stop():
            return None
        return outcome.run, _decisions(folder / name)

    whole = run("whole", spec, first)
    if whole is None:
        return None
    base, decided = whole
    if not decided:
        raise DataError("the strategy was asked for no decision; take a longer span")
    bar_ms = 300_000
    length = (base.to_ms - base.from_ms) // bar_ms
    ahead, recursion = [], []
    for number in range(1, cuts + 1):
        cut_ms = base.from_ms + length * number // (cuts + 1) * bar_ms
        # whole candles only: the row that a cut ends in is not told as closed
        short = run(f"cut{number}", replace(spec, start_ms=base.from_ms, for_ms=cut_ms - base.from_ms), training(base))
        if short is None:
            return None
        ahead.append(_compared(cut_ms, decided, short[1]))
    for number in range(1, starts + 1):
        from_ms = base.from_ms + _prime_up_to(length * number // (2 * (starts + 1))) * bar_ms
        late = run(f"late{number}", replace(spec, start_ms=from_ms, for_ms=base.to_ms - from_ms), training(base))
        if late is None:
            return None
        recursion.append(_settled(from_ms, base, decided, late[1]))
    return Checked(
        strategy=spec.config.strategy,
        from_ms=base.from_ms,
        to_ms=base.to_ms,
        decisions=len(decided),
        acted=sum(row[2] != "hold" for row in decided),
        look_ahead=tuple(ahead),
        recursion=tuple(recursion),
        foresight=knows(base),
    )


def _prime_up_to(most: int) -> int:
    """The largest prime number not above ``most``, or 1: a shift by that many candles is in step with nothing that a
    strategy may count.

    >>> [_prime_up_to(n) for n in (0, 1, 2, 15, 48)]
    [1, 1, 2, 13, 47]
    """
    return next((n for n in range(most, 1, -1) if all(n % d for d in range(2, math.isqrt(n) + 1))), 1)


def _decisions(folder: Path) -> list[Row]:
    rows: list[Row] = []
    for part in RunFolder(folder).decisions(DECIDED):
        rows += zip(*(part[name] for name in DECIDED), strict=True)
    return rows


def _compared(cut_ms: int, whole: Sequence[Row], cut: Sequence[Row]) -> LookAhead:
    """Decisions up to the cut, in their order: none may be missing, added or different."""
    before = [row for row in whole if row[0] < cut_ms]
    there = [row for row in cut if row[0] < cut_ms]
    for ours, theirs in zip(before, there, strict=False):
        if ours != theirs:
            return LookAhead(cut_ms, len(before), _parting(ours, theirs, DECIDED))
    if len(before) != len(there):
        row = (before if len(before) > len(there) else there)[min(len(before), len(there))]
        counts = (str(len(before)), str(len(there)))
        return LookAhead(cut_ms, len(before), Parting(row[0], row[1], "number of decisions", *counts))
    return LookAhead(cut_ms, len(before), None)


def _settled(from_ms: int, base: Run, whole: Sequence[Row], late: Sequence[Row]) -> Recursion:
    ours = {(row[0], row[1]): row for row in whole if row[0] > from_ms}
    theirs = {(row[0], row[1]): row for row in late if row[0] > from_ms}
    at = {name: DECIDED.index(name) for name in WANTED}
    different: list[tuple[int, Parting]] = []
    for key in sorted(ours.keys() | theirs.keys()):
        a, b = ours.get(key), theirs.get(key)
        if a is None or b is None:
            told = ("made", "none") if b is None else ("none", "made")
            different.append((key[0], Parting(key[0], key[1], "decision", *told)))
        elif any(a[column] != b[column] for column in at.values()):
            different.append((key[0], _parting(a, b, WANTED)))
    last = different[-1][0] if different else from_ms
    settles = last < base.to_ms - (base.to_ms - from_ms) // 10
    return Recursion(
        later_ms=from_ms - base.from_ms,
        decisions=len(ours.keys() | theirs.keys()),
        different=len(different),
        settled_ms=last - from_ms if settles else None,
        parting=different[0][1] if different else None,
    )


def _parting(a: Row, b: Row, fields: Sequence[str]) -> Parting:
    columns: Mapping[str, int] = {name: DECIDED.index(name) for name in fields}
    name = next(name for name, column in columns.items() if a[column] != b[column])
    return Parting(a[0], a[1], name, str(a[columns[name]]), str(b[columns[name]]))
