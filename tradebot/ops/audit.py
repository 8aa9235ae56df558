"""The signal audit as files for ``tail -f`` and ``jq``: one JSON object per line, split by size.

``signals.jsonl`` is the file being written; full ones become ``signals.000001.jsonl``, ``signals.000002.jsonl``, … and
are never changed again.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from tradebot.errors import DataError
from tradebot.ops.files import disk_error, fsync_directory

MAX_BYTES = 64 << 20


class AuditWriter:
    """Appends records, each as one whole line. A line that could not be written is kept and written before the next."""

    def __init__(self, path: Path, *, max_bytes: int = MAX_BYTES, keep: int | None = None) -> None:
        """``path`` is the current file, made when missing; a torn last line that a crash left is cut off.

        A file is closed when it has reached ``max_bytes``. ``keep`` full files stay, or all of them. Raises BusyError
        (disk full) or DataError (not writable).
        """
        self.path = path
        self._max_bytes = max_bytes
        self._keep = keep
        self._encode = msgspec.json.Encoder().encode
        self._unwritten = b""
        self._fd = -1
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._open()
        except OSError as error:
            raise disk_error("write", path, error) from error

    def write(self, record: Any) -> None:
        """Append a record (anything msgspec can encode as a JSON object).

        Raises BusyError when the disk is full and DataError otherwise: nothing of the line is in the file then, and it
        will be written together with the next one.
        """
        self._unwritten += self._encode(record) + b"\n"
        self._flush()

    def close(self) -> None:
        """Write what is left, make the file durable, close it. Raises as ``write``."""
        if self._fd < 0:
            return
        try:
            self._flush()
            os.fsync(self._fd)
        except OSError as error:
            raise disk_error("write", self.path, error) from error
        finally:
            os.close(self._fd)
            self._fd = -1

    def _flush(self) -> None:
        try:
            if self._size >= self._max_bytes and self._unwritten:
                self._rotate()
            data = memoryview(self._unwritten)
            done = 0
            try:
                while done < len(data):
                    done += os.write(self._fd, data[done:])
            except BaseException:
                os.ftruncate(self._fd, self._size)
                raise
        except OSError as error:
            raise disk_error("write", self.path, error) from error
        self._size += done
        self._unwritten = b""

    def _open(self) -> None:
        self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
        size = os.fstat(self._fd).st_size
        self._size = _end_of_last_line(self._fd, size)
        if self._size != size:
            os.ftruncate(self._fd, self._size)

    def _rotate(self) -> None:
        full = full_files(self.path)
        number = int(full[-1].name[len(self.path.stem) + 1 :][:6]) + 1 if full else 1
        os.fsync(self._fd)
        if self.path.exists():  # else an earlier attempt got this far and the disk was full
            os.rename(self.path, self.path.with_name(f"{self.path.stem}.{number:06d}{self.path.suffix}"))
            fsync_directory(self.path.parent)
        old = self._fd
        self._open()
        os.close(old)
        if self._keep is not None:
            for path in full_files(self.path)[: -self._keep or None]:
                path.unlink(missing_ok=True)


def full_files(path: Path) -> list[Path]:
    """The closed files of the audit whose current file is ``path``, oldest first."""
    name = re.compile(re.escape(path.stem) + r"\.\d{6}" + re.escape(path.suffix))
    return sorted(entry for entry in path.parent.glob(f"{path.stem}.*{path.suffix}") if name.fullmatch(entry.name))


def read_audit(path: Path) -> Iterator[dict[str, Any]]:
    """Every record, oldest first; an unfinished last line is left out. Raises DataError naming file and line."""
    for file in (*full_files(path), path):
        try:
            data = file.read_bytes()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise disk_error("read", file, error) from error
        for number, line in enumerate(data.split(b"\n")[:-1], start=1):
            yield _decode(line, file, number)


def follow_audit(
    path: Path, *, last: int = 0, poll_s: float = 0.2, stop: Callable[[], bool] = lambda: False
) -> Iterator[dict[str, Any]]:
    """The newest ``last`` records, then every new one as it is written, across rotations; ends when ``stop()``.

    Waits (in the calling thread) while there is nothing new. Raises DataError.
    """
    reader = _Follower(path)
    try:
        yield from reader.begin(last)
        while not stop():
            records = list(reader.more())
            yield from records
            if not records:
                time.sleep(poll_s)
    finally:
        reader.close()


class _Follower:
    """Reads a file to its end, then the one that took its place. ``_done`` is the end of the last whole line read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd = -1
        self._done = 0
        self._line = 0

    def begin(self, last: int) -> list[dict[str, Any]]:
        """Position at the end; the newest ``last`` records before it."""
        if not self._attach(self._path):
            return []
        records = list(self._lines())
        earlier = full_files(self._path)
        for i, file in enumerate(earlier):
            if os.path.samestat(os.fstat(self._fd), os.stat(file)):  # it was rotated just now
                del earlier[i:]
                break
        while len(records) < last and earlier:
            records = [*_whole_file(earlier.pop()), *records]
        return records[-last:] if last else []

    def more(self) -> Iterator[dict[str, Any]]:
        """Everything written since the last call."""
        if self._fd < 0 and not self._attach(self._path):
            return
        # looked at before reading: what was written before a rotation is then certainly read here
        following = self._next_file()
        yield from self._lines()
        while following is not None:
            if not self._attach(following):
                return
            following = self._next_file()
            yield from self._lines()

    def _attach(self, path: Path) -> bool:
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise disk_error("read", path, error) from error
        self.close()
        self._fd, self._done, self._line = fd, 0, 0
        return True

    def _next_file(self) -> Path | None:
        """The file after the one being read, or None when that is still the current one."""
        mine = os.fstat(self._fd)
        files = [*full_files(self._path), self._path]
        for i, file in enumerate(files):
            try:
                same = os.path.samestat(mine, os.stat(file))
            except FileNotFoundError:
                continue
            if same:
                return files[i + 1] if i + 1 < len(files) else None
        return files[0]  # the one being read has been deleted: go on with the oldest there is

    def _lines(self) -> Iterator[dict[str, Any]]:
        size = os.fstat(self._fd).st_size
        data = os.pread(self._fd, max(0, size - self._done), self._done)
        for line in data.split(b"\n")[:-1]:
            self._done += len(line) + 1
            self._line += 1
            yield _decode(line, self._path, self._line)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _whole_file(file: Path) -> list[dict[str, Any]]:
    lines = file.read_bytes().split(b"\n")[:-1]
    return [_decode(line, file, number) for number, line in enumerate(lines, start=1)]


def _decode(line: bytes, file: Path, number: int) -> dict[str, Any]:
    try:
        record: dict[str, Any] = msgspec.json.decode(line, type=dict)
    except msgspec.DecodeError as error:
        raise DataError(f"{file}:{number}: not a JSON object ({error}); move the file away") from error
    return record


def _end_of_last_line(fd: int, size: int) -> int:
    """The offset after the last newline."""
    block = 1 << 16
    end = size
    while end > 0:
        start = max(0, end - block)
        at = os.pread(fd, end - start, start).rfind(b"\n")
        if at >= 0:
            return start + at + 1
        end = start
    return 0
