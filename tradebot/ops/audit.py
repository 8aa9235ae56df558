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
    reader = _Follower(path)
    try:
        reader.begin_at_oldest()
        yield from reader.more()
    finally:
        reader.close()


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
        self._file = path
        self._fd = -1
        self._done = 0
        self._line = 0

    def begin_at_oldest(self) -> None:
        """Position before the first record of the oldest file."""
        for file in full_files(self._path):
            if self._switch(_open(file), file):
                return

    def begin(self, last: int) -> list[dict[str, Any]]:
        """Position at the end; the newest ``last`` records before it."""
        if not self._switch(_open(self._path), self._path):
            return []
        records = list(self._lines())
        earlier = [file for file in full_files(self._path) if not _is_file(self._fd, file)]
        while len(records) < last and earlier:
            file = earlier.pop()
            records = [*(_decode(line, file, n) for n, line in enumerate(_lines_of(file), start=1)), *records]
        return records[-last:] if last else []

    def more(self) -> Iterator[dict[str, Any]]:
        """Everything written since the last call."""
        if self._fd < 0 and not self._switch(_open(self._path), self._path):
            return
        while True:
            # looked at before reading: a file that has a successor is complete
            complete = self._next_file() is not None
            yield from self._lines()
            if not (complete and self._switch(*self._open_next())):
                return

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _switch(self, fd: int, file: Path) -> bool:
        if fd < 0:
            return False
        self.close()
        self._fd, self._file, self._done, self._line = fd, file, 0, 0
        return True

    def _open_next(self) -> tuple[int, Path]:
        """A descriptor of the file after this one (-1 when it is not there yet) and its name."""
        while (following := self._next_file()) is not None:
            fd = _open(following)
            if fd < 0:
                break
            successor = self._next_file()
            if successor is not None and _is_file(fd, successor):
                return fd, successor
            os.close(fd)  # the name passed to a later file before it was opened
        return -1, self._path

    def _next_file(self) -> Path | None:
        """The file after the one being read, or None when that is still the current one."""
        while True:
            files = [*full_files(self._path), self._path]
            for i, file in enumerate(files):
                if _is_file(self._fd, file):
                    return files[i + 1] if i + 1 < len(files) else None
            if os.fstat(self._fd).st_nlink == 0:
                return files[0]  # the one being read has been deleted: go on with the oldest there is
            # it was renamed between looking at the names and at the files: look again

    def _lines(self) -> Iterator[dict[str, Any]]:
        size = os.fstat(self._fd).st_size
        data = os.pread(self._fd, max(0, size - self._done), self._done)
        for line in data.split(b"\n")[:-1]:
            self._done += len(line) + 1
            self._line += 1
            yield _decode(line, self._file, self._line)


def _open(file: Path) -> int:
    try:
        return os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return -1
    except OSError as error:
        raise disk_error("read", file, error) from error


def _is_file(fd: int, file: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), os.stat(file))
    except FileNotFoundError:
        return False


def _lines_of(file: Path) -> list[bytes]:
    """The finished lines of a file; none when it does not exist."""
    try:
        return file.read_bytes().split(b"\n")[:-1]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise disk_error("read", file, error) from error


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
