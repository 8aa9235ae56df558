"""The job queue as a folder.

::

    QUEUE/pending/ID.json    asked for
    QUEUE/running/ID.json    taken; the taker holds a lock on QUEUE/locks/ID.lock
    QUEUE/done/ID.json       the result
    QUEUE/progress/ID.json   where a running job is
    QUEUE/cancel/ID          someone wants it stopped
    QUEUE/work/ID/           what an interrupted job finds again: its search and its fit

States of a job:

1. pending – file in ``pending``; ``claim`` locks it, then renames it into ``running``.
2. running – ``Claim.finish`` writes the result, then removes the file; ``Claim.release`` renames it back.
3. done – the result exists. It wins over any other file of that job.

Every step is one rename. A taker that dies loses its lock with its process, so ``recover`` tells a stale claim from a
slow one without clocks or process ids. A job whose takers died ``MAX_ATTEMPTS`` times is closed as failed.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import TypeVar

import msgspec

from tradebot.errors import BusyError, DataError
from tradebot.jobs.job import JobProgress, JobResult, JobState, RetrainJob, Verdict
from tradebot.ops.files import fsync_directory, write_atomic
from tradebot.registry.durable import acquire, disk_errors

MAX_ATTEMPTS = 3
_MAY_GO_ON = (BusyError.exit_code, 130)
"""Ends after which a job that is asked for again goes on where it was: no room, or stopped from the keyboard."""

T = TypeVar("T")


class JobQueue:
    """A queue below ``root``; the folder is made when it does not exist. May raise BusyError or DataError."""

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)
        with disk_errors(self.root):
            for name in ("pending", "running", "done", "progress", "cancel", "locks", "work"):
                (self.root / name).mkdir(parents=True, exist_ok=True)

    # --- the asking side -------------------------------------------------------------------------------------------

    def enqueue(self, job: RetrainJob) -> bool:
        """Ask for a job. False when a job of that id exists already in any state (asking twice is one job)."""
        with self._lock(job.id) as held:
            if not held or self.state(job.id) is not None:
                return False
            write_atomic(self._file("pending", job.id), _json(job))
            return True

    def state(self, job_id: str) -> JobState | None:
        """Where a job is, or None when it is unknown."""
        states: tuple[JobState, ...] = ("done", "running", "pending")
        return next((state for state in states if self._file(state, job_id).exists()), None)

    def ids(self, state: JobState) -> list[str]:
        """Ids in a state, oldest first (ids begin with their time)."""
        found = sorted(path.stem for path in (self.root / state).glob("*.json") if not path.name.startswith("."))
        return [job_id for job_id in found if state == "done" or not self._file("done", job_id).exists()]

    def job(self, job_id: str) -> RetrainJob:
        """A pending or running job. Raises DataError when it is unknown or its file is damaged."""
        for state in ("pending", "running"):
            with contextlib.suppress(FileNotFoundError):
                return _parse(self._file(state, job_id), RetrainJob)
        raise DataError(f"{self.root}: no job {job_id!r} is pending or running")

    def progress(self, job_id: str) -> JobProgress | None:
        """Last progress written, or None."""
        try:
            return _parse(self._file("progress", job_id), JobProgress)
        except (FileNotFoundError, DataError):
            return None

    def result(self, job_id: str) -> JobResult | None:
        """The result, or None while there is none. Raises DataError when its file is damaged."""
        try:
            return _parse(self._file("done", job_id), JobResult)
        except FileNotFoundError:
            return None

    def cancel(self, job_id: str) -> bool:
        """Ask for a job to stop. A pending one is closed at once; a running one stops at its next step.

        False when there is no such unfinished job.
        """
        state = self.state(job_id)
        if state is None or state == "done":
            return False
        write_atomic(self.root / "cancel" / job_id, b"")
        claim = self.claim(job_id)
        if claim is not None:
            with claim:
                claim.finish(_closed(claim.job, "cancelled", "cancelled before it started", exit_code=1))
        return True

    def forget(self, job_id: str) -> bool:
        """Drop the result of a job that has ended, so that it can be asked for again; False when it has not ended."""
        with self._lock(job_id) as held:
            if not held or not self._file("done", job_id).exists():
                return False
            self._file("done", job_id).unlink()
            fsync_directory(self.root / "done")
            return True

    # --- the taking side -------------------------------------------------------------------------------------------

    def claim(self, job_id: str | None = None) -> Claim | None:
        """Take a job (the oldest pending one when none is named), or None when there is none to take.

        A job file that cannot be read is closed as failed and the next one is tried.
        """
        for candidate in [job_id] if job_id is not None else self.ids("pending"):
            lock = acquire(self._lock_path(candidate))
            if lock is None:
                continue
            try:
                pending, running = self._file("pending", candidate), self._file("running", candidate)
                if self._file("done", candidate).exists():
                    pending.unlink(missing_ok=True)
                elif pending.exists():
                    os.rename(pending, running)
                    fsync_directory(running.parent)
                    try:
                        return Claim(self, _parse(running, RetrainJob), lock)
                    except DataError as error:
                        self._close_unreadable(candidate, str(error))
                os.close(lock)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.close(lock)
                raise
        return None

    def recover(self) -> list[str]:
        """Put back jobs whose taker died; close those that killed ``MAX_ATTEMPTS`` takers. Gives the ids touched."""
        touched = []
        for path in sorted((self.root / "running").glob("*.json")):
            job_id = path.stem
            with self._lock(job_id) as held:
                if not held or not path.exists():
                    continue
                touched.append(job_id)
                if self._file("done", job_id).exists():
                    path.unlink()
                    continue
                attempts = self._attempts(job_id) + 1
                write_atomic(self._attempts_path(job_id), str(attempts).encode())
                if attempts >= MAX_ATTEMPTS:
                    try:
                        job = _parse(path, RetrainJob)
                    except DataError as error:
                        self._close_unreadable(job_id, str(error))
                        continue
                    reason = f"its runner died {attempts} times: killed or out of memory; see its log, then ask again"
                    self._close(job_id, _closed(job, "failed", reason, exit_code=1))
                else:
                    os.rename(path, self._file("pending", job_id))
                    fsync_directory(self.root / "pending")
        return touched

    # --- inside ----------------------------------------------------------------------------------------------------

    def _file(self, state: str, job_id: str) -> Path:
        return self.root / state / f"{job_id}.json"

    def _lock_path(self, job_id: str) -> Path:
        return self.root / "locks" / f"{job_id}.lock"

    def _attempts_path(self, job_id: str) -> Path:
        return self.root / "locks" / f"{job_id}.attempts"

    def _attempts(self, job_id: str) -> int:
        try:
            return int(self._attempts_path(job_id).read_text())
        except (FileNotFoundError, ValueError):
            return 0

    def _close(self, job_id: str, result: JobResult) -> None:
        write_atomic(self._file("done", job_id), _json(result))
        self._file("running", job_id).unlink(missing_ok=True)
        (self.root / "cancel" / job_id).unlink(missing_ok=True)
        self._attempts_path(job_id).unlink(missing_ok=True)
        if result.exit_code not in _MAY_GO_ON:
            shutil.rmtree(self.root / "work" / job_id, ignore_errors=True)

    def _close_unreadable(self, job_id: str, reason: str) -> None:
        result = JobResult(
            id=job_id,
            symbol="",
            model="",
            verdict="failed",
            promoted=False,
            reason=reason,
            exit_code=DataError.exit_code,
        )
        self._close(job_id, result)

    @contextlib.contextmanager
    def _lock(self, job_id: str) -> Iterator[bool]:
        """Whether the job's lock was free; it is held inside the block if so."""
        fd = acquire(self._lock_path(job_id))
        try:
            yield fd is not None
        finally:
            if fd is not None:
                os.close(fd)


class Claim:
    """A job taken by this process. Leaving the block without ``finish`` puts the job back."""

    def __init__(self, queue: JobQueue, job: RetrainJob, lock: int) -> None:
        self.job = job
        self._queue = queue
        self._lock: int | None = lock
        self._said_of_data: dict[str, None] = {}

    def report(self, progress: JobProgress) -> None:
        """Publish progress; what is said of its data after the stage's first words stays in ``notes``, as whoever looks
        now and then sees the newest step alone. A full disk does not stop a job that could finish."""
        if progress.stage == "data":
            self._said_of_data[progress.message] = None
        progress = msgspec.structs.replace(progress, notes=tuple(self._said_of_data)[1:])
        with contextlib.suppress(OSError):
            path = self._queue._file("progress", self.job.id)
            temporary = path.with_name(f".{path.name}.{os.getpid()}")
            temporary.write_bytes(_json(progress))
            os.replace(temporary, path)

    @property
    def work(self) -> Path:
        """The job's folder for what it goes on from after an interruption; gone once it has a result."""
        folder = self._queue.root / "work" / self.job.id
        with disk_errors(folder):
            folder.mkdir(exist_ok=True)
        return folder

    def cancelled(self) -> bool:
        """Whether someone asked for this job to stop."""
        return (self._queue.root / "cancel" / self.job.id).exists()

    def finish(self, result: JobResult) -> None:
        """Publish the result and let the job go. The result is durable before the claim disappears."""
        self._queue._close(self.job.id, result)
        self._free()

    def release(self) -> None:
        """Put the job back as it was."""
        if self._lock is None:
            return
        with contextlib.suppress(FileNotFoundError):
            os.rename(self._queue._file("running", self.job.id), self._queue._file("pending", self.job.id))
            fsync_directory(self._queue.root / "pending")
        self._free()

    def _free(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def __enter__(self) -> Claim:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def _closed(job: RetrainJob, verdict: Verdict, reason: str, *, exit_code: int) -> JobResult:
    return JobResult(
        id=job.id,
        symbol=job.symbol,
        model=job.model,
        verdict=verdict,
        promoted=False,
        reason=reason,
        exit_code=exit_code,
    )


def _json(value: object) -> bytes:
    return msgspec.json.format(msgspec.json.encode(value), indent=1) + b"\n"


def _parse(path: Path, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except FileNotFoundError:
        raise
    except (msgspec.DecodeError, OSError, DataError) as error:
        raise DataError(f"{path}: cannot be read ({error})") from error
