"""The results page: what is kept, what is run again, and that it says nothing an outcome does not."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from benchmarks.results import __main__ as results
from benchmarks.results.cases import CUT_MS, Case, cases
from benchmarks.results.outcome import Outcome, code_sha256, data_sha256, keep, kept_at, load, newest
from benchmarks.results.page import write_page
from benchmarks.results.run_case import run
from benchmarks.results.words import SECTIONS
from tradebot.registry import Metric

CASE = cases("short")[0]


@pytest.mark.parametrize("form", ["short", "full"])
def test_every_case_has_a_name_of_its_own_and_a_place_on_the_page(form: str) -> None:
    found = cases(form)  # type: ignore[arg-type]
    assert len({case.name for case in found}) == len(found)
    assert {case.section for case in found} <= {section.name for section in SECTIONS}


def test_an_outcome_is_kept_for_its_code_data_and_options_only(tmp_path: Path) -> None:
    data, work = tmp_path / "data", tmp_path / "work"
    data.mkdir()
    (data / CASE.file).write_bytes(b"one")
    path = kept_at(CASE, data, work)
    keep(path, Outcome(case=CASE, status="done", rows=3))
    assert load(kept_at(CASE, data, work)) == Outcome(case=CASE, status="done", rows=3)
    assert load(kept_at(msgspec.structs.replace(CASE, trials=99), data, work)) is None
    (data / "bybit_perp_funding.parquet").write_bytes(b"beside")
    assert load(kept_at(CASE, data, work)) is None
    assert code_sha256("lightgbm") != code_sha256("bilstm")
    path.write_bytes(b"{")
    assert load(path) is None


def test_what_earlier_code_came_to_is_shown_as_such_and_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / CASE.file).write_bytes(b"one")
    earlier = Outcome(case=CASE, status="done", code="0" * 12, data_sha256=data_sha256(CASE, tmp_path), rows=5)
    keep(kept_at(CASE, tmp_path, tmp_path), earlier)
    monkeypatch.setattr("benchmarks.results.outcome.code_sha256", lambda family: "1" * 12)
    assert not results._is_kept(CASE, tmp_path, tmp_path)
    assert newest(CASE, tmp_path, tmp_path) == earlier
    write_page(tmp_path / "results.md", "short", [(CASE, earlier)])
    assert "| 000000000000 (earlier) |" in (tmp_path / "results.md").read_text()
    (tmp_path / CASE.file).write_bytes(b"two")
    assert newest(CASE, tmp_path, tmp_path) is None


def test_a_family_or_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    unknown = msgspec.structs.replace(CASE, family="oracle")
    assert run(unknown, tmp_path, tmp_path).reason == "this release has no family 'oracle'"
    assert (run(CASE, tmp_path, tmp_path).status, run(CASE, tmp_path, tmp_path).rows) == ("absent", 0)


def test_a_case_that_dies_is_a_failure_and_the_next_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results.sys, "executable", "/bin/false")
    outcome = results._run(CASE, tmp_path, tmp_path)
    assert (outcome.status, outcome.reason) == ("failed", "ended with 1")
    assert not results._is_kept(CASE, tmp_path, tmp_path)


def test_the_page_shows_value_interval_and_baseline_and_names_what_is_missing(tmp_path: Path) -> None:
    good = Metric(value=0.7214, low=0.70, high=0.74, baseline=0.69, baseline_name="logistic regression")
    done = Outcome(
        case=CASE, status="done", metrics={"move_auc": good, "trades": Metric(value=0.0)}, rows=12_958, from_ms=CUT_MS,
        to_ms=CUT_MS + 86_400_000, train_s=18.4, latency_us=13.2, verdict="refused", absent="basis, oi_chg_12",
    )  # fmt: skip
    failed: Case = cases("short")[1]
    found = [
        (CASE, done),
        (failed, Outcome(case=failed, status="failed", reason="out of memory")),
        (cases("short")[2], None),
    ]
    write_page(tmp_path / "results.md", "short", found)
    text = (tmp_path / "results.md").read_text()
    assert "| 0.721 [0.700, 0.740] vs 0.690 |" in text
    assert "whether it moves: the whole interval is better than the baseline for 1 of 1" in text
    assert f"- `{failed.name}`: out of memory" in text
    assert f"- `{cases('short')[2].name}`: has not run" in text
    assert "basis, oi_chg_12" in text
    assert "2026-02-15 00:00" in text
    assert text.count("| 18 s | 13 µs | refused |") == 1
