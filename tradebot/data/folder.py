"""A folder of exported files: what every file of it holds, in ``metadata.json`` for programs, ``README.md`` for people.

Beside each file lies ``NAME.columns.json``: the names, types and units of its columns in order.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec

from tradebot.data.columns import utc
from tradebot.errors import DataError
from tradebot.ops.files import disk_error, write_atomic

BLOCK = 1 << 20


class Column(msgspec.Struct, frozen=True):
    """One column: name, type and unit."""

    name: str
    type: str
    unit: str


class Columns(msgspec.Struct, frozen=True, kw_only=True):
    """The sidecar of a file. ``layout`` is the order of book columns in an array (:mod:`tradebot.data.deeplob`)."""

    exchange: str
    channel: str
    symbol: str
    columns: tuple[Column, ...]
    layout: str = ""


class Exported(msgspec.Struct, frozen=True, kw_only=True):
    """One exported file: the rows it has, their range, the gaps between them, and its SHA-256."""

    file: str
    exchange: str
    channel: str
    symbol: str
    rows: int
    first_ms: int
    last_ms: int
    gaps: int
    missing_rows: int
    sha256: str
    companions: dict[str, str] = {}
    """Files beside it that belong to it, with their SHA-256."""


class Metadata(msgspec.Struct, kw_only=True):
    """``metadata.json``."""

    format: str
    columns: tuple[Column, ...]
    files: list[Exported]


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes. Raises DataError when it cannot be read."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(BLOCK):
                digest.update(block)
    except OSError as error:
        raise disk_error("read", path, error) from None
    return digest.hexdigest()


def columns_path(file: Path) -> Path:
    """Where the sidecar of a file is."""
    return file.with_suffix(".columns.json")


def read_columns(file: Path) -> Columns | None:
    """The sidecar of a file, None when there is none. Raises DataError when it is damaged."""
    path = columns_path(file)
    if not path.exists():
        return None
    try:
        return msgspec.json.decode(path.read_bytes(), type=Columns)
    except (OSError, msgspec.MsgspecError) as error:
        raise DataError(f"{path}: not the description of a file's columns ({error}); export again") from None


def read_metadata(folder: Path) -> Metadata | None:
    """The ``metadata.json`` of a folder, None when there is none. Raises DataError when it is damaged."""
    path = folder / "metadata.json"
    if not path.exists():
        return None
    try:
        return msgspec.json.decode(path.read_bytes(), type=Metadata)
    except (OSError, msgspec.MsgspecError) as error:
        raise DataError(f"{path}: not the metadata of an export ({error}); name another folder") from None


def describe_export(folder: Path, kind: str, columns: Columns, exported: Exported, about: str) -> None:
    """Write sidecar, metadata and README for one file; other files of the folder stay described.

    Raises DataError when the folder holds another format, or a file of that name from elsewhere.
    """
    check_folder(folder, kind, columns.columns, exported.file, exported.exchange, exported.channel)
    known = read_metadata(folder)
    others = [one for one in known.files if one.file != exported.file] if known else []
    metadata = Metadata(
        format=kind, columns=columns.columns, files=sorted([*others, exported], key=lambda one: one.file)
    )
    write_atomic(columns_path(folder / exported.file), msgspec.json.format(msgspec.json.encode(columns)))
    write_atomic(folder / "metadata.json", msgspec.json.format(msgspec.json.encode(metadata)))
    write_atomic(folder / "README.md", _readme(metadata, about).encode())


def check_folder(folder: Path, kind: str, columns: tuple[Column, ...], file: str, exchange: str, channel: str) -> None:
    """Raise DataError unless ``file`` may be put into ``folder``."""
    known = read_metadata(folder)
    if known is None:
        return
    if known.format != kind or known.columns != columns:
        raise DataError(
            f"{folder}: holds an export with other columns ({known.format} of {', '.join(_channels(known))}); "
            f"name another folder, for instance --out {folder}-{channel}"
        )
    if any(one.file == file and (one.exchange, one.channel) != (exchange, channel) for one in known.files):
        raise DataError(f"{folder}: holds {file} of another market already; name another folder")


def _channels(metadata: Metadata) -> list[str]:
    return sorted({one.channel for one in metadata.files})


def _readme(metadata: Metadata, about: str) -> str:
    lines = ["# Market data", "", about, "", "## Files", ""]
    lines += ["| file | market | rows | first (UTC) | last (UTC) | gaps | rows missing | sha256 |"]
    lines += ["|---|---|---:|---|---|---:|---:|---|"]
    lines += [
        f"| `{one.file}` | {one.exchange} {one.symbol} {one.channel} | {one.rows:,} | {utc(one.first_ms)[:-4]} | "
        f"{utc(one.last_ms)[:-4]} | {one.gaps:,} | {one.missing_rows:,} | `{one.sha256}` |"
        for one in metadata.files
    ]
    companions = [(name, sha) for one in metadata.files for name, sha in sorted(one.companions.items())]
    if companions:
        lines += ["", "Beside them, one value for each row:", ""]
        lines += [f"* `{name}`, sha256 `{sha}`" for name, sha in companions]
    lines += ["", "## Columns", "", "| index | name | type | unit |", "|---:|---|---|---|"]
    lines += [f"| {i} | `{one.name}` | {one.type} | {one.unit} |" for i, one in enumerate(metadata.columns)]
    lines += ["", "`NAME.columns.json` tells the same for each file, `metadata.json` all of the above.", ""]
    return "\n".join(lines)
