"""Schedules: read from YAML, and every mistake told with its place and remedy."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.sim.clients import bench
from tests.sim.walk import WalkSource
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
    path = written(tmp_path, text)
    assert load_schedule(path) == Schedule(
        seed=9,
        places=(f"{path}:4:5", f"{path}:12:5", f"{path}:13:5"),
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


@pytest.mark.parametrize(
    ("rule", "place", "words"),
    [
        (
            "{kind: drop, channel: bokos}",
            ":2:25: channel: drop of public meets no channel 'bokos'; did you mean books?",
            "",
        ),
        (
            "{kind: drop, scope: private, channel: books}",
            ":2:41: channel: drop of private meets no channel",
            "orders-algo",
        ),
        ("{kind: drop, channel: candle7m}", ":2:25: channel: drop of public meets no channel 'candle7m'", ""),
        (
            "{kind: sequence_gap, channel: trade}",
            ":2:33: channel: sequence_gap of public meets no channel 'trade'",
            "books",
        ),
        (
            "{kind: fill_twice, channel: account}",
            ":2:31: channel: fill_twice of private meets no channel",
            "orders, fill",
        ),
        ("{kind: server_error, channel: books}", ":2:33: channel: server_error of rest: a channel is said", "frames"),
        ("{kind: late_candle, scope: rest, channel: candle5m}", ":2:45: channel: late_candle of rest", "frames"),
        ("{kind: connection_drop, channel: books}", ":2:36: channel: connection_drop of public", "frames"),
        (
            "{kind: server_error, endpoint: placeorder}",
            ":2:34: endpoint: server_error of rest meets no request 'placeorder'; did you mean place-order?",
            "",
        ),
        (
            "{kind: late_candle, scope: rest, endpoint: ticker}",
            ":2:46: endpoint: late_candle of rest",
            "history-candles",
        ),
        ("{kind: drop, endpoint: place-order}", ":2:26: endpoint: drop of public: an endpoint is said", "rest"),
        ("{kind: half_open, symbol: SOLUSDT}", ":2:29: symbol: half_open of public: it acts on all symbols", ""),
        ("{kind: clock_skew, endpoint: place-order}", ":2:32: endpoint: clock_skew of rest", ""),
    ],
)
def test_a_rule_that_could_never_hit_is_a_mistake(tmp_path: Path, rule: str, place: str, words: str) -> None:
    path = written(tmp_path, f"rules:\n- {rule}\n")
    with pytest.raises(ConfigError) as caught:
        load_schedule(path)
    said = str(caught.value)
    assert said.startswith(f"{path}{place}"), said
    assert words in said
    assert "\n" not in said


@pytest.mark.parametrize(
    "rule",
    [
        "{kind: drop, channel: books15}",
        "{kind: drop, channel: candle1H}",
        "{kind: drop, channel: candle}",
        "{kind: delay, scope: private, channel: orders-algo}",
        "{kind: drop, channel: reply}",
        "{kind: sequence_gap, channel: books, symbol: SOLUSDT}",
        "{kind: late_candle, channel: candle5m}",
        "{kind: duplicate_candle, scope: rest, endpoint: candles}",
        "{kind: slow_rest, endpoint: GET}",
        "{kind: corrupt_json, scope: rest, endpoint: all-position, symbol: SOLUSDT}",
        "{kind: maintenance, symbol: SOLUSDT}",
    ],
)
def test_what_a_kind_can_meet_may_be_named(tmp_path: Path, rule: str) -> None:
    assert len(load_schedule(written(tmp_path, f"rules: [{rule}]\n")).rules) == 1


def test_all_mistakes_of_a_file_are_told_at_once(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "rules:\n- {kind: dorp}\n- {kind: drop}\n- {kind: delay, delay: 3, nth: 0}\n- {kind: drop, channel: x}\n",
    )
    with pytest.raises(ConfigError) as caught:
        load_schedule(path)
    places = [line.removeprefix(f"{path}").split(" ")[0] for line in str(caught.value).split("\n")]
    assert places == [":2:10:", ":4:24:", ":4:32:", ":5:25:"]


async def test_a_symbol_that_the_market_does_not_have_is_told_before_it_opens(tmp_path: Path) -> None:
    path = written(tmp_path, "rules:\n- {kind: drop, symbol: SOLUSDT}\n- {kind: drop, symbol: SOLUSD}\n")
    with pytest.raises(ConfigError) as caught:
        async with bench([WalkSource()], faults=load_schedule(path)):
            pass
    assert str(caught.value) == (
        f"{path}:3:3: symbol: no such symbol 'SOLUSD'; did you mean SOLUSDT? this market has SOLUSDT"
    )


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
