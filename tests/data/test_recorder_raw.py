"""Raw recordings: what comes back after a clean end, a tear, damage, a full disk and midnight."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tradebot.data.recorder.raw import RawLog, RawTiming
from tradebot.data.recorder.records import (
    MAGIC,
    BookRecord,
    CandleRecord,
    Edge,
    Recorded,
    Seen,
    TickerRecord,
    TradeRecord,
    read_records,
)
from tradebot.market.candle import DAY_MS

T0 = 1_767_571_200_000  # 2026-01-05 00:00 UTC
NEVER = RawTiming(write=3600.0, sync=3600.0)
"""The thread does nothing: the test writes."""


def book(number: int) -> BookRecord:
    prices = tuple(100.0 + i / 7 for i in range(10))
    return BookRecord(T0 + 1_000 * number, 7, False, prices, prices, prices, prices)


EACH: tuple[Recorded, ...] = (
    book(0),
    TradeRecord(T0 - 3, 0.1 + 0.2, 1e-9, True, "12345"),
    CandleRecord("5m", T0, 1.0, 2.0, 0.5, 1.5, 7.25, 10.125),
    TickerRecord(1.1, 1.2, 1.3, -0.0001, 5.0),
    Edge(T0, False, True, "disconnected"),
)


def files(directory: Path) -> list[Path]:
    return sorted(directory.rglob("*.rec"))


def seen(directory: Path) -> list[Seen]:
    return [record for path in files(directory) for record in read_records(path.read_bytes())]


@contextmanager
def file_size_limit(most: int) -> Iterator[None]:
    """No file of this process may grow beyond ``most`` bytes: what a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_every_kind_of_record_comes_back_as_it_was(tmp_path: Path) -> None:
    log = RawLog(tmp_path)
    for number, record in enumerate(EACH):
        log.stream("bitget", "SOLUSDT").append(T0 + number, record)
    log.close()
    log.close()
    assert [(s.ts_ms, s.record, s.lost) for s in seen(tmp_path)] == [(T0 + i, r, 0) for i, r in enumerate(EACH)]
    assert (log.records, log.lost, log.failure) == (len(EACH), 0, "")


def test_what_was_appended_is_in_the_file_without_closing_it(tmp_path: Path) -> None:
    log = RawLog(tmp_path, RawTiming(write=0.005))
    log.stream("bitget", "SOLUSDT").append(T0, book(0))
    for _ in range(2_000):
        if files(tmp_path) and len(seen(tmp_path)) == 1:
            break
        log._stopping.wait(0.005)
    assert len(seen(tmp_path)) == 1
    log.close()


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_torn_tail_costs_the_torn_record_and_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    directory = tmp_path_factory.mktemp("raw")
    log = RawLog(directory, NEVER)
    stream = log.stream("bitget", "SOLUSDT")
    ends = []
    for number in range(4):
        stream.append(T0 + number, EACH[number])
        log.flush()
        ends.append(files(directory)[0].stat().st_size)
    log.close()
    whole = files(directory)[0].read_bytes()
    cut = data.draw(st.integers(len(MAGIC), len(whole)))
    kept = [s.record for s in read_records(whole[:cut])]
    assert kept == list(EACH[: sum(end <= cut for end in ends)])


@settings(max_examples=60, deadline=None)
@given(at=st.integers(len(MAGIC), 1_900), flip=st.integers(1, 255))
def test_damage_in_the_middle_costs_what_it_hit_and_says_so(
    tmp_path_factory: pytest.TempPathFactory, at: int, flip: int
) -> None:
    directory = tmp_path_factory.mktemp("raw")
    log = RawLog(directory, NEVER)
    for number in range(6):
        log.stream("bitget", "SOLUSDT").append(T0 + number, book(number))
    log.close()
    data = bytearray(files(directory)[0].read_bytes())
    data[at] ^= flip
    found = list(read_records(bytes(data)))
    numbers = [(s.record.boundary_ms - T0) // 1_000 for s in found if isinstance(s.record, BookRecord)]
    assert len(numbers) == 5
    assert sorted(numbers) == numbers
    assert sum(s.lost for s in found) == 1
    jumps = [b for a, b in pairwise([-1, *numbers]) if b - a == 2]
    assert [n for n, s in zip(numbers, found, strict=True) if s.lost] == jumps


def test_a_day_begins_a_file_and_so_does_a_start(tmp_path: Path) -> None:
    for run in range(2):
        log = RawLog(tmp_path)
        log.stream("bitget", "SOLUSDT").append(T0 + DAY_MS - 1 + run, book(0))
        log.stream("bitget", "SOLUSDT").append(T0 + DAY_MS + run, book(1))
        log.stream("binance-spot", "SOLUSDT").append(T0 + DAY_MS + run, book(2))
        log.close()
    assert [str(path.relative_to(tmp_path)) for path in files(tmp_path)] == [
        "2026-01-05/bitget/SOLUSDT-0001.rec",
        "2026-01-06/binance-spot/SOLUSDT-0001.rec",
        "2026-01-06/binance-spot/SOLUSDT-0002.rec",
        "2026-01-06/bitget/SOLUSDT-0001.rec",
        "2026-01-06/bitget/SOLUSDT-0002.rec",
    ]
    assert [s.lost for s in seen(tmp_path)] == [0] * 6


def test_a_full_disk_stops_recording_says_so_once_and_goes_on_when_there_is_room(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log = RawLog(tmp_path, RawTiming(write=3600.0, sync=3600.0, retry=0.0))
    stream = log.stream("bitget", "SOLUSDT")
    stream.append(T0, book(0))
    log.flush()
    good = files(tmp_path)[0].stat().st_size
    with file_size_limit(good + 700):  # room for one record and a half
        for number in (1, 2, 3):
            stream.append(T0 + number, book(number))
            stream.append(T0 + number, book(number))
            log.flush()
            assert "file size limit reached; free some space" in log.failure
            assert files(tmp_path)[0].stat().st_size == good
    assert len([r for r in caplog.records if r.levelname == "ERROR"]) == 1
    stream.append(T0 + 9, book(9))
    log.close()
    assert (log.failure, log.lost) == ("", 6)
    assert [(s.record, s.lost) for s in seen(tmp_path)] == [(book(0), 0), (book(9), 6)]


def test_until_the_next_attempt_nothing_is_tried_and_memory_does_not_grow(tmp_path: Path) -> None:
    log = RawLog(tmp_path, RawTiming(write=3600.0, sync=3600.0, retry=3600.0))
    stream = log.stream("bitget", "SOLUSDT")
    with file_size_limit(0):
        stream.append(T0, book(0))
        log.flush()
    stream.append(T0, book(1))
    log.flush()
    assert (log.lost, files(tmp_path)) == (2, [])
    stream.append(T0, book(2))
    log.close()  # the last attempt of all
    assert [s.record for s in seen(tmp_path)] == [book(2)]


def test_a_disk_that_is_too_slow_loses_records_instead_of_memory(tmp_path: Path) -> None:
    log = RawLog(tmp_path, NEVER, most_bytes=1_000)
    stream = log.stream("bitget", "SOLUSDT")
    for number in range(20):
        stream.append(T0 + number, book(number))
    assert (log.records, log.lost) == (3, 17)
    log.flush()
    stream.append(T0 + 20, book(20))
    log.close()
    assert [s.lost for s in seen(tmp_path)] == [0, 0, 0, 17]


def test_what_is_no_recording_is_refused() -> None:
    with pytest.raises(ValueError, match="not a raw recording"):
        list(read_records(b"PAR1" + bytes(100)))


def test_records_behind_a_beginning_that_a_power_cut_lost_are_read(tmp_path: Path) -> None:
    log = RawLog(tmp_path, NEVER)
    for number in range(5):
        log.stream("bitget", "SOLUSDT").append(T0 + number, book(number))
    log.close()
    data = files(tmp_path)[0].read_bytes()
    hole = len(MAGIC) + 20
    found = list(read_records(bytes(hole) + data[hole:]))
    assert [one.record for one in found] == [book(number) for number in range(1, 5)]
    assert [one.lost for one in found] == [1, 0, 0, 0]


def test_a_file_has_its_beginning_on_the_disk_before_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []

    def sync_data(fd: int) -> None:
        done.append(f"{os.fstat(fd).st_size} bytes")

    def sync_name(folder: Path) -> None:
        done.append(folder.name)

    monkeypatch.setattr("os.fdatasync", sync_data)
    monkeypatch.setattr("tradebot.data.recorder.raw.fsync_directory", sync_name)
    log = RawLog(tmp_path, NEVER)
    log.stream("bitget", "SOLUSDT").append(T0, book(0))
    log.flush()
    assert done[:2] == [f"{len(MAGIC)} bytes", "bitget"]
    log.close()
