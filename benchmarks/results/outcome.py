"""What a case came to, kept under a name made from everything that decides it."""

from __future__ import annotations

import glob
import hashlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Literal

import msgspec

import tradebot
from benchmarks.results.cases import Case
from tradebot.ops.files import write_atomic
from tradebot.registry import Metric

ROOMS = ("evaluation", "features", "training")
"""Rooms that decide what any family comes to; of ``forecasters`` only its own modules and the shared ones do."""
ROOTS = ("lightgbm", "lorentzian", "bilstm")


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """``absent``: the family is not in this release. ``train_s`` is the whole job: search, fit, evaluation, export."""

    case: Case
    status: Literal["done", "absent", "failed"]
    reason: str = ""
    metrics: dict[str, Metric] = {}
    rows: int = 0
    from_ms: int = 0
    to_ms: int = 0
    train_s: float = 0.0
    latency_us: float | None = None
    verdict: str = ""
    verdict_reason: str = ""
    absent: str = ""
    """Inputs that were unknown in every row."""
    code: str = ""
    data_sha256: str = ""


@cache
def _file_sha256(path: Path, changed_ns: int) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def data_files(case: Case, folder: Path) -> list[Path]:
    """The case's candles and what may lie beside them: the leading coins' candles and the funding rates."""
    venue, _, rest = case.file.partition("_")
    beside = [case.file, *(f"{venue}_{rest.replace(case.symbol, lead)}" for lead in ("BTCUSDT", "ETHUSDT"))]
    paths = [folder / name for name in (*beside, f"{venue}_perp_funding.parquet")]
    return [path for path in dict.fromkeys(paths) if path.is_file()]


def data_sha256(case: Case, folder: Path) -> str:
    digest = hashlib.sha256()
    for path in data_files(case, folder):
        digest.update(f"{path.name} {_file_sha256(path, path.stat().st_mtime_ns)}\n".encode())
    return digest.hexdigest()


def code_sha256(family: str) -> str:
    """Twelve hex digits of the sources that take part: shared rooms, shared modules, and the family's own."""
    digest = hashlib.sha256()
    root = Path(tradebot.__file__).parent
    for path in _sources(root, family):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


def _sources(root: Path, family: str) -> Iterator[Path]:
    for room in ROOMS:
        yield from sorted((root / room).rglob("*.py"))
    own = family.partition("-")[0]
    for path in sorted((root / "forecasters").rglob("*.py")):
        if not any(path.stem.startswith(other) for other in ROOTS if other != own):
            yield path


def kept_at(case: Case, data: Path, work: Path) -> Path:
    """Where the outcome of ``case`` lies, for this code and this data."""
    told = msgspec.json.encode(case, order="sorted") + code_sha256(case.family).encode()
    key = hashlib.sha256(told + data_sha256(case, data).encode()).hexdigest()[:16]
    return work / "outcomes" / f"{case.name}-{key}.json"


def newest(case: Case, data: Path, work: Path) -> Outcome | None:
    """What ``case`` came to with this code, else, on the same data, with earlier code (``Outcome.code`` tells)."""
    exact = load(kept_at(case, data, work))
    if exact is not None and exact.status == "done":
        return exact
    told = data_sha256(case, data)
    paths = sorted((work / "outcomes").glob(f"{glob.escape(case.name)}-*.json"), key=lambda path: path.stat().st_mtime)
    for path in reversed(paths):
        found = load(path)
        if found is not None and (found.case, found.data_sha256, found.status) == (case, told, "done"):
            return found
    return exact


def load(path: Path) -> Outcome | None:
    """The outcome kept at ``path``; None when there is none or it cannot be read."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Outcome)
    except (FileNotFoundError, msgspec.DecodeError):
        return None


def keep(path: Path, outcome: Outcome) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, msgspec.json.format(msgspec.json.encode(outcome), indent=1) + b"\n")
