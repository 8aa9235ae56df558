"""Schedules: read from YAML, and every mistake told with its place and remedy."""

from __future__ import annotations

from pathlib import Path

import pytest

from tradebot.errors import ConfigError
from tradebot.sim.faults import KINDS, Rule, Schedule, document, load_schedule


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "faults.yaml"
    path.write_text(text)
    return path


def test_a_schedule_is_read_with_the_defaults_of_its_kinds(tmp_path: Path) -> None:
    text = """
seed: 9
rules:
  - kind: delay
    scope: private
    channel: orders
    symbol: solusdt
    from: 40m
    for: 20m
    probability: 0.5
    delay: 2s
  - {kind: clock_skew, skew: -45s}
  - {kind: failure_but_stands}
"""
    assert load_schedule(written(tmp_path, text)) == Schedule(
        seed=9,
        rules=(
            Rule(
                kind="delay", scope="private", channel="orders", symbol="SOLUSDT", from_ms=2_400_000, for_ms=1_200_000,
                probability=0.5, parameters={"delay": 2_000},
            ),
            Rule(kind="clock_skew", scope="rest", parameters={"skew": -45_000}),
            Rule(
                kind="failure_but_stands", scope="rest", endpoint="POST", parameters={"code": "", "effect": True}
            ),
        ),
    )  # fmt: skip


@pytest.mark.parametrize("text", ["", "rules:\n", "seed: 3\n"])
def test_a_schedule_may_have_no_rules(tmp_path: Path, text: str) -> None:
    assert load_schedule(written(tmp_path, text)).rules == ()


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("rules:\n  - kind: dorp\n", ":2:11: kind: no such kind 'dorp'; did you mean drop?", "maintenance"),
        ("rules:\n  - scope: public\n", ":2:5: a rule needs a kind: drop, delay", ""),
        ("rules:\n  - kind: drop\n    scope: rest\n", ":3:12: scope: drop does not act on rest; it acts on", "private"),
        (
            "rules:\n  - kind: drop\n    delay: 3s\n",
            ":3:12: delay: not a member of a rule of kind drop;",
            "probability",
        ),
        ("rules:\n  - kind: delay\n    delay: 3\n", ":3:12: delay: expected a duration like 250ms", "got 3"),
        ("rules:\n  - kind: drop\n    probability: 2\n", ":3:18: probability: expected a probability", "got 2"),
        ("rules:\n  - kind: drop\n    nth: 0\n", ":3:10: nth: expected a whole number from 1", "got 0"),
        ("rules:\n  - kind: server_error\n    status: 200\n", ":3:13: status: expected a whole number from 500", "200"),
        (
            "rules:\n  - kind: delisting\n    status: over\n",
            ":3:13: status: expected one of limit_open, off, gone",
            "over",
        ),
        ("rules:\n  - kind: drop\n    kind: delay\n", ":3:5: kind: given twice", ""),
        ("rules:\n  - drop\n", ":2:5: expected a rule with a `kind:`", ""),
        ("rules: drop\n", ":1:8: rules: expected a list", ""),
        ("seed: -1\n", ":1:7: seed: expected a whole number from 0", "got -1"),
        ("speed: 1\n", ":1:8: speed: a schedule has `seed` and `rules` alone", ""),
        ("- kind: drop\n", ":1:1: expected a schedule with `rules:`", ""),
        ("rules: [\n", ":2:1: not valid YAML", ""),
        ("rules:\n- {kind: delay, from: 2026-13-45}\n", ":2:23: from: month must be in 1..12", ""),
    ],
)
def test_a_mistake_is_one_line_with_its_place(tmp_path: Path, text: str, place: str, words: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        load_schedule(path)
    said = str(caught.value)
    assert said.startswith(f"{path}{place}"), said
    assert words in said
    assert "\n" not in said


def test_a_file_that_is_not_there_or_no_text_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load_schedule(tmp_path / "none.yaml")
    path = tmp_path / "bytes.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="not UTF-8 text"):
        load_schedule(path)


def test_every_kind_says_what_it_is_and_where_it_shows() -> None:
    for name, kind in KINDS.items():
        assert kind.name == name
        assert kind.meaning
        assert kind.noticed.keys() <= set(kind.scopes)
        assert kind.scopes
        for parameter in kind.parameters:
            assert f"`{parameter}`" in kind.meaning, f"{name}: {parameter} is not explained"


def test_the_page_about_faults_is_current_and_its_example_is_a_schedule(tmp_path: Path) -> None:
    page = Path(__file__).resolve().parents[2] / "docs" / "faults.md"
    assert page.read_text() == document.markdown(), "run: python -m tradebot.sim.faults.document > docs/faults.md"
    example = page.read_text().partition("```yaml\n")[2].partition("```")[0]
    assert len(load_schedule(written(tmp_path, example)).rules) == 4
