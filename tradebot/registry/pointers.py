"""The pointers of a model: which version serves, which ones did, and which waits.

``champion.json`` is the truth. Its line in ``history.jsonl`` is written first, so a crash between the two leaves one
line too many, never one too few: the last one, where the pointer is that of the line before it, or not there yet.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Literal

import msgspec

from tradebot.errors import ModelError
from tradebot.ops.files import write_atomic
from tradebot.registry.manifest import encode

CHAMPION_FILE = "champion.json"
CHALLENGER_FILE = "challenger.json"
HISTORY_FILE = "history.jsonl"


class Champion(msgspec.Struct, frozen=True, kw_only=True):
    """The pointer: ``version`` serves since ``at_ms``. ``previous`` is where a rollback leads.

    ``provisional`` is copied from the version's manifest: no decision can lift it, only a new version can.
    """

    version: str
    previous: str | None
    action: Literal["promote", "rollback"]
    provisional: bool
    sha256: str
    who: str
    why: str
    verdict: str
    at_ms: int


class Challenger(msgspec.Struct, frozen=True, kw_only=True):
    """The newest version that does not serve, and why it does not.

    ``state``: ``refused`` by its gate, or ``waiting``: it came from elsewhere, or its gate let it pass and nobody moved
    the pointer. It stays until it, or a version stored after it, is promoted.
    """

    version: str
    state: Literal["refused", "waiting"]
    sha256: str
    why: str
    at_ms: int


def read_champion(folder: Path) -> Champion | None:
    """The pointer of the model in ``folder``; None when nothing was ever promoted. Raises ModelError."""
    path = folder / CHAMPION_FILE
    try:
        return msgspec.json.decode(path.read_bytes(), type=Champion)
    except FileNotFoundError:
        return None
    except (msgspec.DecodeError, OSError) as error:
        raise ModelError(f"{path}: champion pointer is unreadable ({error}); promote a version again") from error


def read_challenger(folder: Path) -> Challenger | None:
    """The newest version that does not serve; None also where its file makes no sense. Raises ModelError."""
    path = folder / CHALLENGER_FILE
    try:
        return msgspec.json.decode(path.read_bytes(), type=Challenger)
    except (FileNotFoundError, msgspec.DecodeError):
        return None
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror})") from error


def read_history(folder: Path) -> list[Champion]:
    """Promotions and rollbacks of the model in ``folder``, oldest first.

    A line cut off by a crash is left out, and the one that is ahead of the pointer. The pointer itself comes last:
    where its line was lost, or an older pointer was put back, it is added.
    """
    records = []
    try:
        lines = (folder / HISTORY_FILE).read_bytes().splitlines()
    except FileNotFoundError:
        lines = []
    for line in lines:
        with contextlib.suppress(msgspec.DecodeError):
            records.append(msgspec.json.decode(line, type=Champion))
    try:
        current = read_champion(folder)
    except ModelError:
        return records
    if current is None or records[-2:-1] == [current]:
        return records[:-1]
    return records if records[-1:] == [current] else [*records, current]


def move(folder: Path, pointer: Champion) -> None:
    """Write the line of ``pointer``, then move the pointer. A failure at any step leaves both as they were, or both
    moved. Raises BusyError when the disk is full, DataError."""
    records = [*read_history(folder), pointer]
    write_atomic(folder / HISTORY_FILE, b"".join(msgspec.json.encode(record) + b"\n" for record in records))
    write_atomic(folder / CHAMPION_FILE, encode(pointer))
