from __future__ import annotations

import multiprocessing
import os
import signal
import time
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.eventually import presently
from tradebot.errors import DataError
from tradebot.jobs import JobProgress, JobQueue, JobResult, ParquetSource, RestSource, RetrainJob, job_id
from tradebot.jobs.queue import MAX_ATTEMPTS


def job(number: int = 1, **changes: object) -> RetrainJob:
    as_of = 1_700_000_000_000 + number * 1_000
    made = RetrainJob(
        id=job_id("SOLUSDT", "lightgbm", as_of),
        symbol="SOLUSDT",
        model="lightgbm",
        as_of_ms=as_of,
        declared_ms=60_000,
        days=30,
        source=RestSource(url="http://127.0.0.1:1"),
        store="model_store",
    )
    return msgspec.structs.replace(made, **changes)


def result(of: RetrainJob, verdict: str = "promoted") -> JobResult:
    return msgspec.convert(
        {
            "id": of.id,
            "symbol": of.symbol,
            "model": of.model,
            "verdict": verdict,
            "promoted": verdict == "promoted",
            "reason": "made for a test",
            "exit_code": 0,
        },
        JobResult,
    )


def test_a_job_goes_from_pending_through_running_to_done(tmp_path: Path) -> None:
    queue, asked = JobQueue(tmp_path), job()
    assert queue.enqueue(asked)
    assert queue.state(asked.id) == "pending"
    with queue.claim() as claim:  # type: ignore[union-attr]
        assert claim.job == asked
        assert queue.state(asked.id) == "running"
        claim.report(JobProgress(stage="tune", done=1, total=6, message="trial 1", elapsed_s=0.5, eta_s=2.5))
        assert queue.progress(asked.id).done == 1  # type: ignore[union-attr]
        claim.finish(result(asked))
    assert queue.state(asked.id) == "done"
    assert queue.result(asked.id) == result(asked)
    assert queue.ids("running") == queue.ids("pending") == []


@pytest.mark.parametrize(("exit_code", "kept"), [(75, True), (130, True), (65, False), (0, False)])
def test_what_a_job_goes_on_from_outlives_only_a_full_disk_and_a_stop(
    tmp_path: Path, exit_code: int, kept: bool
) -> None:
    queue, asked = JobQueue(tmp_path), job()
    queue.enqueue(asked)
    assert not queue.forget(asked.id), "it has not ended"
    assert queue.state(asked.id) == "pending"
    with queue.claim() as claim:  # type: ignore[union-attr]
        (claim.work / "search").write_text("half of it")
        claim.finish(msgspec.structs.replace(result(asked), exit_code=exit_code))
    assert (tmp_path / "work" / asked.id / "search").exists() == kept
    assert queue.forget(asked.id)
    assert queue.enqueue(asked)


def test_asking_twice_is_one_job_in_every_state(tmp_path: Path) -> None:
    queue, asked = JobQueue(tmp_path), job()
    assert queue.enqueue(asked)
    assert not queue.enqueue(asked)
    claim = queue.claim()
    assert claim is not None
    assert not queue.enqueue(asked)
    claim.finish(result(asked))
    assert not queue.enqueue(asked)
    assert queue.claim() is None


def test_the_oldest_job_is_taken_first_and_a_named_one_when_asked(tmp_path: Path) -> None:
    queue = JobQueue(tmp_path)
    for number in (3, 1, 2):
        queue.enqueue(job(number))
    named = queue.claim(job(2).id)
    oldest = queue.claim()
    assert named is not None
    assert oldest is not None
    assert (named.job, oldest.job) == (job(2), job(1))


def test_a_claim_left_without_a_result_puts_the_job_back(tmp_path: Path) -> None:
    queue = JobQueue(tmp_path)
    queue.enqueue(job())
    with pytest.raises(RuntimeError), queue.claim():  # type: ignore[union-attr]
        raise RuntimeError("the runner failed in a way nobody foresaw")
    assert queue.state(job().id) == "pending"


def test_a_pending_job_is_cancelled_at_once_and_a_running_one_is_told(tmp_path: Path) -> None:
    queue = JobQueue(tmp_path)
    queue.enqueue(job(1))
    queue.enqueue(job(2))
    assert queue.cancel(job(2).id)
    assert queue.result(job(2).id).verdict == "cancelled"  # type: ignore[union-attr]
    claim = queue.claim()
    assert claim is not None
    assert not claim.cancelled()
    assert queue.cancel(job(1).id)
    assert claim.cancelled()
    claim.finish(result(job(1), "cancelled"))
    assert not queue.cancel(job(1).id)
    assert not queue.cancel("unknown")
    assert not list((tmp_path / "cancel").iterdir())


def test_a_damaged_job_file_is_closed_as_failed_and_the_next_is_taken(tmp_path: Path) -> None:
    queue = JobQueue(tmp_path)
    queue.enqueue(job(1))
    queue.enqueue(job(2))
    (tmp_path / "pending" / f"{job(1).id}.json").write_bytes(b'{"id": "0')
    claim = queue.claim()
    assert claim is not None
    assert claim.job == job(2)
    failed = queue.result(job(1).id)
    assert failed is not None
    assert failed.verdict == "failed"
    assert failed.exit_code == 65


def _take_and_hang(root: str) -> None:
    JobQueue(root).claim()
    time.sleep(60)


def _take_and_die(root: str) -> None:
    process = multiprocessing.get_context("fork").Process(target=_take_and_hang, args=(root,))
    process.start()
    presently(lambda: JobQueue(root).ids("running"))
    assert process.pid is not None
    assert JobQueue(root).recover() == []  # alive: not stale, however long it takes
    os.kill(process.pid, signal.SIGKILL)
    process.join()


def test_a_killed_runner_gives_its_job_back_until_it_has_killed_too_many(tmp_path: Path) -> None:
    queue = JobQueue(tmp_path)
    queue.enqueue(job())
    for attempt in range(1, MAX_ATTEMPTS + 1):
        _take_and_die(str(tmp_path))
        assert queue.state(job().id) == "running"
        assert queue.recover() == [job().id]
        assert queue.state(job().id) == ("pending" if attempt < MAX_ATTEMPTS else "done")
    failed = queue.result(job().id)
    assert failed is not None
    assert failed.verdict == "failed"
    assert "died 3 times" in failed.reason


def test_a_runner_killed_after_its_result_but_before_tidying_up_is_done(tmp_path: Path) -> None:
    queue = JobQueue(tmp_path)
    queue.enqueue(job())
    _take_and_die(str(tmp_path))
    (tmp_path / "done" / f"{job().id}.json").write_bytes(msgspec.json.encode(result(job())))
    assert queue.state(job().id) == "done"
    queue.recover()
    assert not list((tmp_path / "running").iterdir())
    assert not list((tmp_path / "pending").iterdir())
    assert queue.claim() is None
    assert queue.result(job().id) == result(job())


@pytest.mark.parametrize(
    "change",
    [{"days": 0}, {"trials": 0}, {"threads": 0}, {"declared_ms": -1}, {"test_from_ms": 0}, {"id": "../x"}, {"id": ""}],
)
def test_a_job_that_makes_no_sense_cannot_be_made(change: dict[str, object]) -> None:
    with pytest.raises(DataError):
        RetrainJob(**(msgspec.structs.asdict(job()) | change))


@settings(max_examples=50, deadline=None)
@given(
    seed=st.integers(0, 2**31 - 1),
    days=st.integers(1, 2_000),
    path=st.text(min_size=1),
    provisional=st.booleans(),
)
def test_a_job_survives_its_file(seed: int, days: int, path: str, provisional: bool) -> None:
    made = job(seed=seed, days=days, source=ParquetSource(path=path), allow_provisional=provisional)
    assert msgspec.json.decode(msgspec.json.encode(made), type=RetrainJob) == made
