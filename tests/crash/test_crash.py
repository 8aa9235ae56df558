"""A few kills of the campaign, and that it would notice."""

from __future__ import annotations

import shutil
from pathlib import Path
from zlib import crc32

from tests.crash.campaign import run_campaign
from tests.crash.world import World
from tests.faults.world import model_store
from tradebot.journal import JournalReader, journal_directory
from tradebot.journal.frames import MARKS, SIZE_AND_CRC, STAMP

KILLS, SEED = 6, 42
"""Of these moments one is in a start, one follows another at once, and a halt precedes one."""


def test_a_daemon_killed_again_and_again_loses_duplicates_and_forgets_nothing(tmp_path: Path) -> None:
    model_store(tmp_path)
    campaign = run_campaign(KILLS, SEED, tmp_path / "market")
    assert campaign.problems == []
    assert campaign.kills == KILLS
    assert campaign.lost == campaign.duplicated == campaign.mismatches == 0
    assert campaign.halts
    assert campaign.fills > KILLS
    assert len(campaign.phases) > 1


def test_a_campaign_notices_what_is_lost(tmp_path: Path) -> None:
    def forget(running: World) -> None:
        shutil.rmtree(journal_directory(running.state))

    model_store(tmp_path)
    campaign = run_campaign(1, 3, tmp_path / "market", meanwhile=forget)
    assert any("foreign" in problem for problem in campaign.problems)


def test_a_campaign_notices_a_decision_that_was_not_made_so(tmp_path: Path) -> None:
    model_store(tmp_path)
    campaign = run_campaign(1, 3, tmp_path / "market", meanwhile=_forge)  # killed by a command: it has decided
    assert campaign.mismatches == 1
    assert any("replay" in problem for problem in campaign.problems)


def _forge(running: World) -> None:
    """Change a word of the first decision in the journal, and its checksum."""
    directory = journal_directory(running.state)
    [segment] = directory.glob("*.seg")
    data = segment.read_bytes()
    frame = next(raw for raw in JournalReader(directory).raw_frames(1) if b"was flat" in raw.payload)
    payload = frame.payload.replace(b"was flat", b"was full")
    stamp = STAMP.pack(frame.seq, frame.ts_ms, MARKS[frame.kind])
    forged = SIZE_AND_CRC.pack(len(payload), crc32(payload, crc32(stamp))) + stamp + payload
    segment.write_bytes(data[: frame.end - len(forged)] + forged + data[frame.end :])
