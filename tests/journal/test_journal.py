"""What is appended is read back; what a crash leaves is cut; what is damaged is named."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.journal.records import T0, book, booted, decision, ends, order, timer
from tradebot.errors import BusyError, JournalError
from tradebot.events import RECORDED_OUTPUTS, Event, RequestForecast, SetTimer
from tradebot.journal import Journal, JournalReader, RecordedOutput, is_recorded, next_epoch, open_state, state_lock
from tradebot.journal.frames import HEADER_SIZE, SegmentHeader, SyncFrame, encode_sync, parse_frame


def write(directory: Path, count: int, epoch: int = 1, **sizes: int) -> Path:
    """A journal of ``count`` timers; returns its last segment."""
    directory.mkdir(exist_ok=True)
    journal = Journal(directory, epoch, **sizes)
    for i in range(count):
        journal.append("input", T0 + i, timer(i))
    journal.close()
    return sorted(directory.glob("*.seg"))[-1]


def seqs(directory: Path, epoch: int | None = None) -> list[int]:
    return [frame.seq for frame in JournalReader(directory).frames(epoch)]


def test_records_come_back_equal_and_in_order_across_segments(tmp_path: Path) -> None:
    journal = Journal(tmp_path, 1, segment_bytes=2_000, chunk_bytes=500)
    written = []
    for i in range(40):
        kind, record = (("output", decision(f"d{i}")), ("input", book(i)), ("output", order()))[i % 3]
        written.append((1, journal.append(kind, T0 + i, record), T0 + i, kind, record))  # type: ignore[arg-type]
    journal.close()
    assert len(list(tmp_path.glob("*.seg"))) > 3
    assert [tuple(frame) for frame in JournalReader(tmp_path).frames()] == written
    assert [frame.seq for frame in JournalReader(tmp_path).frames(1, after=33)] == list(range(34, 41))
    assert JournalReader(tmp_path).last_seq(1) == 40


def test_epochs_are_read_one_by_one_or_all_in_order(tmp_path: Path) -> None:
    for epoch, count in ((1, 3), (2, 2), (12, 1)):
        write(tmp_path, count, epoch)
    reader = JournalReader(tmp_path)
    assert reader.epochs() == (1, 2, 12)
    assert [(f.epoch, f.seq) for f in reader.frames()] == [(1, 1), (1, 2), (1, 3), (2, 1), (2, 2), (12, 1)]
    assert seqs(tmp_path, 2) == [1, 2]
    assert JournalReader(tmp_path / "nothing").epochs() == ()
    assert list(JournalReader(tmp_path / "nothing").frames()) == []


def test_the_journal_can_hold_every_event_and_every_recorded_output() -> None:
    assert set(get_args(RecordedOutput)) == set(RECORDED_OUTPUTS)
    assert not set(get_args(RecordedOutput)) & set(get_args(Event))
    assert is_recorded(order())
    assert not is_recorded(SetTimer(name="x", due_ms=1))
    asked = RequestForecast(request_id="r", symbol="S", model="m", as_of_ms=1, deadline_ms=2, row=b"", row_hash="")
    assert not is_recorded(asked)


def test_appended_records_are_not_written_before_flush_and_not_durable_before_sync(tmp_path: Path) -> None:
    journal = Journal(tmp_path, 1)
    journal.append("input", T0, timer(1))
    assert (seqs(tmp_path), journal.written_seq, journal.synced_seq) == ([], 0, 0)
    journal.flush()
    assert (seqs(tmp_path), journal.written_seq, journal.synced_seq) == ([1], 1, 0)
    journal.sync()
    assert journal.synced_seq == 1
    journal.close()
    journal.close()
    journal.append("input", T0, timer(2))
    with pytest.raises(JournalError, match="closed"):
        journal.flush()


def test_a_tail_torn_at_any_byte_of_the_last_frame_is_cut_with_a_warning(tmp_path: Path) -> None:
    source = tmp_path / "source"
    segment = write(source, 3)
    data = segment.read_bytes()
    keep, whole = ends(segment)[-2:]
    torn = tmp_path / "torn"
    torn.mkdir()
    for end in range(keep + 1, whole):
        (torn / segment.name).write_bytes(data[:end])
        assert seqs(torn) == [1, 2]  # also before the repair: a reader may look while a daemon writes
        (warning,) = JournalReader(torn).repair()
        assert f"cut {end - keep} bytes" in warning
        assert (torn / segment.name).read_bytes() == data[:keep]
        assert JournalReader(torn).repair() == ()


def test_a_tail_of_zeros_or_of_noise_is_cut(tmp_path: Path) -> None:
    segment = write(tmp_path, 2)
    whole = segment.read_bytes()
    for tail in (b"\0" * 4096, bytes(range(256)) * 3):
        segment.write_bytes(whole + tail)
        assert len(JournalReader(tmp_path).repair()) == 1
        assert segment.read_bytes() == whole


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_no_flipped_bit_goes_unnoticed(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    directory = tmp_path_factory.mktemp("flip")
    segment = write(directory, 4)
    whole = segment.read_bytes()
    last = ends(segment)[-1]  # what follows only says that all of this was durable
    position = data.draw(st.integers(0, len(whole) - 1))
    bit = data.draw(st.integers(0, 7))
    damaged = bytearray(whole)
    damaged[position] ^= 1 << bit
    segment.write_bytes(damaged)
    if position >= last:
        assert seqs(directory) == [1, 2, 3, 4]
        assert len(JournalReader(directory).repair()) == 1
    else:
        for attempt in (lambda: seqs(directory), JournalReader(directory).repair):
            with pytest.raises(JournalError) as caught:
                attempt()
            message = str(caught.value)
            assert str(segment) in message
            assert "\n" not in message
        assert "damaged at byte" in message
        assert position < HEADER_SIZE or "byte 0:" not in message
    assert segment.read_bytes()[:last] == bytes(damaged)[:last]


def interrupted(directory: Path, *counts: int) -> tuple[Path, list[int]]:
    """A journal that appended so many records before each of its syncs, then some, and whose machine lost its power.

    Returns its segment as the disk would have it if nothing were lost, and where each record ends.
    """
    directory.mkdir()
    journal = Journal(directory, 1)
    segment = next(directory.glob("*.seg"))
    number = 0
    for i, count in enumerate(counts):
        for _ in range(count):
            journal.append("input", T0 + number, book(number))
            number += 1
        (journal.sync if i + 1 < len(counts) else journal.flush)()
    data = segment.read_bytes()
    journal.close()
    segment.write_bytes(data)
    return segment, ends(segment)


def test_pages_that_were_not_made_durable_may_be_lost_in_the_middle(tmp_path: Path) -> None:
    segment, ended = interrupted(tmp_path / "j", 5, 20)
    data = bytearray(segment.read_bytes())
    data[ended[7] + 3 : ended[12] - 9] = bytes(ended[12] - 9 - ended[7] - 3)  # a page that never came, others that did
    segment.write_bytes(data)
    assert seqs(tmp_path / "j") == list(range(1, 9))
    (warning,) = JournalReader(tmp_path / "j").repair()
    assert f"cut {len(data) - ended[7]} bytes at byte {ended[7]}" in warning
    assert seqs(tmp_path / "j") == list(range(1, 9))
    assert JournalReader(tmp_path / "j").repair() == ()


def test_damage_to_what_had_been_durable_is_an_error_though_it_is_the_last_segment(tmp_path: Path) -> None:
    segment, ended = interrupted(tmp_path / "j", 5, 5, 5)
    for lost in (0, 4, 9):
        data = bytearray(segment.read_bytes())
        data[ended[lost] - 4] ^= 1
        (tmp_path / f"{lost}").mkdir()
        (tmp_path / f"{lost}" / segment.name).write_bytes(data)
        with pytest.raises(JournalError, match="checksum does not match"):
            JournalReader(tmp_path / f"{lost}").repair()
    tail = bytearray(segment.read_bytes())
    tail[ended[10] - 4] ^= 1
    segment.write_bytes(tail)
    assert len(JournalReader(tmp_path / "j").repair()) == 1
    assert seqs(tmp_path / "j") == list(range(1, 11))


def test_what_is_written_after_a_sync_begins_with_how_far_the_file_is_durable(tmp_path: Path) -> None:
    journal = Journal(tmp_path, 1)
    segment = next(tmp_path.glob("*.seg"))
    expected = []
    for n in range(3):
        for i in range(4):  # four writes follow each sync, the first one says so
            journal.append("input", T0, book(4 * n + i))
            journal.flush()
        journal.sync()
        journal.sync()
        expected.append(segment.stat().st_size)
    journal.close()
    data, at, found = segment.read_bytes(), HEADER_SIZE, []
    while at < len(data):
        frame = parse_frame(data, at)
        if isinstance(frame, SyncFrame):
            found.append((at, frame))
        at = frame.end
    assert [(at, frame.durable) for at, frame in found] == [(at, at) for at in expected]
    assert {(frame.epoch, frame.number) for _, frame in found} == {(1, 1)}


def test_old_blocks_of_another_segment_prove_nothing(tmp_path: Path) -> None:
    segment, ended = interrupted(tmp_path / "j", 3, 3)
    whole = segment.read_bytes()
    lost = ended[4]
    for epoch, durable, fatal in ((1, lost + 1, True), (1, lost, False), (2, lost + 1, False)):
        stale = encode_sync(SegmentHeader(epoch, 1, 1), durable)
        segment.write_bytes(whole[:lost] + bytes(50) + stale)
        if fatal:
            with pytest.raises(JournalError):
                seqs(tmp_path / "j")
        else:
            assert seqs(tmp_path / "j") == [1, 2, 3, 4, 5]


def test_damage_inside_an_earlier_segment_is_an_error_with_file_offset_and_remedy(tmp_path: Path) -> None:
    write(tmp_path, 30, segment_bytes=300, chunk_bytes=100)
    first = min(tmp_path.glob("*.seg"))
    first.write_bytes(first.read_bytes()[:-1])
    with pytest.raises(JournalError, match=rf"{first.name} is damaged at byte \d+: an incomplete frame; restore it"):
        seqs(tmp_path)


def test_a_missing_segment_and_a_foreign_file_are_named(tmp_path: Path) -> None:
    write(tmp_path, 30, segment_bytes=300, chunk_bytes=100)
    segments = sorted(tmp_path.glob("*.seg"))
    segments[1].unlink()
    with pytest.raises(JournalError, match="missing"):
        seqs(tmp_path)
    segments[0].unlink()  # the oldest ones may be gone: reading starts where the journal does
    assert seqs(tmp_path)[-1] == 30
    (tmp_path / "notes.seg").write_text("x")
    with pytest.raises(JournalError, match=r"notes\.seg: not a segment's name"):
        seqs(tmp_path)


def test_a_segment_of_a_newer_format_or_under_a_wrong_name_is_refused(tmp_path: Path) -> None:
    segment = write(tmp_path, 2)
    data = bytearray(segment.read_bytes())
    data[8] = 9
    segment.write_bytes(data)
    with pytest.raises(JournalError, match="format version 9"):
        seqs(tmp_path)
    data[8] = 2
    segment.rename(segment.with_name("00000002-000001.seg")).write_bytes(data)
    with pytest.raises(JournalError, match="another segment"):
        seqs(tmp_path)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.integers(-(2**63), 2**63 - 1), st.text(max_size=200)), max_size=40),
    st.integers(1, 400),
    st.integers(1, 400),
)
def test_any_texts_times_and_sizes_survive(
    tmp_path_factory: pytest.TempPathFactory, records: list[tuple[int, str]], segment_bytes: int, chunk_bytes: int
) -> None:
    directory = tmp_path_factory.mktemp("any")
    journal = Journal(directory, 7, segment_bytes=segment_bytes, chunk_bytes=chunk_bytes)
    for ts_ms, text in records:
        journal.append("input", ts_ms, timer(0).__class__(name=text, due_ms=ts_ms))
    journal.close()
    read = [(f.ts_ms, f.record.name) for f in JournalReader(directory).frames(7)]  # type: ignore[union-attr]
    assert read == records


def test_a_reader_sees_whole_records_while_a_writer_appends(tmp_path: Path) -> None:
    journal = Journal(tmp_path, 1, segment_bytes=3_000, chunk_bytes=700)
    seen = 0
    for i in range(300):
        journal.append("input", T0 + i, book(i))
        if i % 7 == 0:
            found = seqs(tmp_path)
            assert found == list(range(1, len(found) + 1))
            assert len(found) == journal.written_seq >= seen
            seen = len(found)
    journal.close()
    assert len(seqs(tmp_path)) == 300


def test_a_full_disk_leaves_whole_frames_and_writing_goes_on_when_there_is_room(tmp_path: Path) -> None:
    journal = Journal(tmp_path, 1, chunk_bytes=1 << 20)
    segment = next(tmp_path.glob("*.seg"))
    for i in range(10):
        journal.append("input", T0 + i, book(i))
    journal.sync()
    good = segment.stat().st_size
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    for i in range(10, 20):
        journal.append("input", T0 + i, book(i))
    resource.setrlimit(resource.RLIMIT_FSIZE, (good + 700, before[1]))  # room for one frame and a half
    try:
        for _ in range(2):
            with pytest.raises(BusyError, match="file size limit reached; free some space") as caught:
                journal.sync()
            assert "\n" not in str(caught.value)
            assert segment.stat().st_size == good
            assert (journal.written_seq, journal.synced_seq) == (10, 10)
            assert seqs(tmp_path) == list(range(1, 11))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    journal.append("input", T0, book(20))
    journal.close()
    assert seqs(tmp_path) == list(range(1, 22))
    assert JournalReader(tmp_path).repair() == ()


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
def test_a_file_system_that_runs_full_stops_the_journal_cleanly(tmp_path: Path) -> None:
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(tmp_path)], capture_output=True, text=True
    )
    if mount.returncode:
        pytest.skip(f"no file system can be mounted here: {mount.stderr.strip()}")
    try:
        journal = Journal(tmp_path, 1, segment_bytes=20_000, chunk_bytes=4_096)

        def fill() -> None:
            for i in range(2_000):
                journal.append("input", T0 + i, book(i))

        with pytest.raises(BusyError, match="no space left"):
            fill()
        whole = journal.written_seq
        assert whole > 100
        assert seqs(tmp_path) == list(range(1, whole + 1))
        assert not list(tmp_path.glob(".*"))
        min(tmp_path.glob("*.seg")).unlink()
        journal.close()
        assert seqs(tmp_path)[-1] == journal.next_seq - 1 == journal.synced_seq
    finally:
        subprocess.run(["umount", "-l", str(tmp_path)], check=True)


def test_after_a_failed_fsync_nothing_is_trusted_any_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(tmp_path, 1)
    journal.append("input", T0, timer(1))

    def broken(_fd: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fdatasync", broken)
    with pytest.raises(JournalError, match="check the disk"):
        journal.sync()
    monkeypatch.undo()
    with pytest.raises(JournalError, match="check the disk"):
        journal.sync()
    assert journal.synced_seq == 0
    journal.close()


_CHILD = textwrap.dedent(
    """
    import sys
    from pathlib import Path
    from tests.journal.records import T0, book, timer
    from tradebot.journal import open_state
    with open_state(Path(sys.argv[1]), chunk_bytes=1 << 20) as opened:
        journal = opened.journal
        for i in range(100):
            journal.append("input", T0 + i, book(i))
        journal.sync()
        for i in range(100, 150):
            journal.append("input", T0 + i, book(i))
        print(journal.synced_seq, opened.epoch, flush=True)
        sys.stdin.read()
    """
)


def _start(state: Path) -> tuple[subprocess.Popen[str], str]:
    child = subprocess.Popen(
        [sys.executable, "-c", _CHILD, str(state)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert child.stdout is not None
    return child, child.stdout.readline()


def test_what_was_synced_survives_a_kill_and_the_next_run_is_a_new_epoch(tmp_path: Path) -> None:
    for epoch in (1, 2):
        child, line = _start(tmp_path)
        assert line.split() == ["100", str(epoch)]
        os.kill(child.pid, signal.SIGKILL)
        child.wait(10)
        assert seqs(tmp_path / "journal", epoch) == list(range(1, 101))
    with open_state(tmp_path) as opened:
        assert (opened.epoch, opened.previous_epoch, opened.warnings) == (3, 2, ())


def test_a_second_daemon_is_refused_with_exit_75_until_the_first_is_gone(tmp_path: Path) -> None:
    child, _ = _start(tmp_path)
    with pytest.raises(BusyError, match=f"in use by process {child.pid}") as caught, open_state(tmp_path):
        pass
    assert caught.value.exit_code == 75
    assert (tmp_path / "epoch").read_text() == "1\n"
    child.kill()
    child.wait(10)
    with open_state(tmp_path) as opened:
        assert opened.epoch == 2


def test_the_lock_excludes_within_one_process_too(tmp_path: Path) -> None:
    with state_lock(tmp_path), pytest.raises(BusyError), state_lock(tmp_path):
        pass
    with state_lock(tmp_path):
        pass


def test_an_epoch_is_never_counted_twice_even_without_the_counter(tmp_path: Path) -> None:
    for expected in (1, 2):
        with open_state(tmp_path) as opened:
            assert opened.epoch == expected
            opened.journal.append("input", T0, booted(expected))
    (tmp_path / "epoch").unlink()
    with open_state(tmp_path) as opened:
        assert opened.epoch == 3
    with open_state(tmp_path) as opened:  # nothing was recorded in epoch 3, the counter alone remembers it
        assert opened.epoch == 4


def test_a_new_state_directory_begins_to_count_where_it_is_told(tmp_path: Path) -> None:
    for first, expected in ((1_760_000_000, 1_760_000_000), (1_770_000_000, 1_760_000_001), (1, 1_760_000_002)):
        with open_state(tmp_path / "state", first_epoch=first) as opened:
            assert opened.epoch == expected
            opened.journal.append("input", T0, booted(expected))
    assert JournalReader(tmp_path / "state" / "journal").epochs() == (1_760_000_000, 1_760_000_001, 1_760_000_002)
    (tmp_path / "state" / "journal").rename(tmp_path / "moved away")
    with open_state(tmp_path / "state", first_epoch=5) as opened:
        assert opened.epoch == 1_760_000_003


@pytest.mark.parametrize("text", ["", "x", "-1", "3 4", "99999999999999"])
def test_an_unreadable_epoch_counter_is_an_error_that_says_what_to_write(tmp_path: Path, text: str) -> None:
    (tmp_path / "epoch").write_text(text)
    with pytest.raises(JournalError, match="write one into it that is higher"):
        next_epoch(tmp_path)
    assert (tmp_path / "epoch").read_text() == text


def test_a_state_directory_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(Exception, match="cannot use") as caught, open_state(tmp_path / "file" / "state"):
        pass
    assert "\n" not in str(caught.value)


def test_opening_repairs_the_tail_and_says_so(tmp_path: Path) -> None:
    with open_state(tmp_path) as opened:
        opened.journal.append("input", T0, timer(1))
    segment = next((tmp_path / "journal").glob("*.seg"))
    segment.write_bytes(segment.read_bytes() + b"\x01\x02\x03")
    with open_state(tmp_path) as opened:
        assert opened.previous_epoch == 1
        assert len(opened.warnings) == 1
        assert "cut 3 bytes" in opened.warnings[0]
