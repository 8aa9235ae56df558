"""Faults on frames: a bare client hears exactly the fault, for its time, and nothing else."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.sim.clients import LocalBook
from tests.sim.faulty import faults, private_story, public_story, pushes
from tests.sim.walk import MOVE_MS

WINDOW = {"from": "5m", "for": "5m"}
"""Steps 10 to 19: walk() tells steps from the first after the start on, so indexes 9 to 18."""
INSIDE = range(9, 19)
SOON = {"from": "30s"}
"""After the first pushes of a subscription."""


async def both(
    kind: str, *channels: str, steps: int = 40, **members: Any
) -> tuple[list[list[str]], list[list[str]], int]:
    """The same steps without and with a fault, and how often it was injected."""
    clean, nothing = await public_story(None, *channels, steps=steps)
    assert nothing == {}
    told, counts = await public_story(faults({"kind": kind, **members}), *channels, steps=steps)
    assert set(counts) <= {(kind, "public")}
    return clean, told, counts.get((kind, "public"), 0)


def differing(clean: list[list[str]], told: list[list[str]]) -> list[int]:
    return [i for i, (a, b) in enumerate(zip(clean, told, strict=True)) if a != b]


async def test_a_dropped_push_is_gone_and_not_counted() -> None:
    clean, told, count = await both("drop", "books", "ticker", channel="books", **WINDOW)
    assert differing(clean, told) == list(INSIDE)
    for i in INSIDE:
        assert told[i] == [text for text in clean[i] if '"channel":"books"' not in text]
    assert count == len(INSIDE)


async def test_drop_with_a_probability_is_the_same_for_the_same_seed_and_another_for_another() -> None:
    rule = {"kind": "drop", "probability": 0.5, **SOON}
    runs = [await public_story(faults(rule, seed=seed), "books") for seed in (3, 3, 4)]
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]
    assert 5 < runs[0][1][("drop", "public")] < 35


async def test_nth_and_times_choose_what_is_hit() -> None:
    clean, told, count = await both("drop", "books", nth=7, **SOON)
    assert (differing(clean, told), count) == ([6], 1)
    clean, told, count = await both("drop", "books", times=3, **SOON)
    assert (differing(clean, told), count) == ([0, 1, 2], 3)


async def test_delayed_pushes_come_later_in_their_order_and_count_when_they_leave() -> None:
    clean, told, count = await both("delay", "books", delay="90s", **WINDOW)
    assert [text for step in told for text in step] == [text for step in clean for text in step]
    assert count == len(INSIDE)
    first = INSIDE[0]
    assert told[first : first + 3] == [[], [], []]
    assert told[first + 3] == clean[first]
    # those of the end wait behind the late ones instead of overtaking them
    assert (
        told[INSIDE[-1] + 3]
        == clean[INSIDE[-1]] + clean[INSIDE[-1] + 1] + clean[INSIDE[-1] + 2] + clean[INSIDE[-1] + 3]
    )
    assert differing(clean[INSIDE[-1] + 4 :], told[INSIDE[-1] + 4 :]) == []


async def test_jitter_delays_by_different_times_but_keeps_the_order() -> None:
    clean, told, count = await both("jitter", "books", jitter="3m", **WINDOW)
    texts = [text for step in clean for text in step]
    heard = [text for step in told for text in step]
    assert heard == texts[: len(heard)]
    assert len(texts) - len(heard) <= 180_000 // MOVE_MS
    assert len({len(step) for step in told}) > 2
    assert count == len(INSIDE)


async def test_a_duplicate_comes_twice_and_counts_twice() -> None:
    clean, told, count = await both("duplicate", "books", **WINDOW)
    assert [len(step) for step in told] == [2 if i in INSIDE else 1 for i in range(40)]
    assert all(step == clean[i] * len(step) for i, step in enumerate(told))
    assert count == len(INSIDE)


async def test_reordered_pushes_change_places_in_pairs() -> None:
    clean, told, count = await both("reorder", "books", **WINDOW)
    for i in range(INSIDE[0], INSIDE[-1], 2):
        assert told[i] == []
        assert told[i + 1] == clean[i + 1] + clean[i]
    assert differing(clean, told) == list(INSIDE)
    assert count == len(INSIDE) // 2


async def test_a_held_back_push_that_nothing_follows_leaves_after_all() -> None:
    clean, told, _ = await both("reorder", "books", nth=5, hold="1s", steps=8, **SOON)
    assert told[4] == []
    assert told[5] == clean[4], "one second later, a step of its own"
    assert told[6:] == clean[5:7]


async def test_corrupt_json_is_no_json() -> None:
    clean, told, count = await both("corrupt_json", "books", **WINDOW)
    assert differing(clean, told) == list(INSIDE)
    for i in INSIDE:
        assert len(told[i][0]) == len(clean[i][0])
        with pytest.raises(json.JSONDecodeError):
            json.loads(told[i][0])
    assert count == len(INSIDE)


async def test_a_truncated_frame_ends_in_the_middle() -> None:
    clean, told, count = await both("truncated_frame", "books", **WINDOW)
    assert differing(clean, told) == list(INSIDE)
    assert all(clean[i][0].startswith(told[i][0]) and 0 < len(told[i][0]) < len(clean[i][0]) for i in INSIDE)
    assert count == len(INSIDE)


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("sequence_gap", {"seq": 3, "pseq": 3}),
        ("sequence_reset", {"pseq": None}),
        ("wrong_checksum", {"checksum": None}),
    ],
)
async def test_a_books_proof_is_broken_and_nothing_else_of_it(kind: str, change: dict[str, int | None]) -> None:
    clean, told, count = await both(kind, "books", "books5", nth=6, **SOON)
    assert (differing(clean, told), count) == ([5], 1)
    (before,), (after,) = pushes(clean[5], "books"), pushes(told[5], "books")
    was, now = before["data"][0], after["data"][0]
    assert pushes(told[5], "books5") == pushes(clean[5], "books5")
    assert {name for name in was if was[name] != now[name]} == set(change)
    for name, shift in change.items():
        if shift is not None:
            assert now[name] == was[name] + shift
    if kind == "sequence_reset":
        assert now["pseq"] == 0
    book = LocalBook()
    book.seq = was["pseq"]
    with pytest.raises((AssertionError, KeyError)):
        book.take(after)


async def test_a_silent_stream_acknowledges_and_answers_pings_but_has_no_data() -> None:
    clean, told, count = await both("silent_stream", "books", "ticker", "trade", **WINDOW)
    assert differing(clean, told) == list(INSIDE)
    assert all(told[i] == [] for i in INSIDE)
    assert count == sum(len(clean[i]) for i in INSIDE)


async def test_rules_that_meet_in_one_frame_all_have_their_way() -> None:
    rules = [{"kind": kind, "channel": "books", **WINDOW} for kind in ("truncated_frame", "sequence_gap", "duplicate")]
    clean, _ = await public_story(None, "books")
    told, counts = await public_story(faults(*rules), "books")
    assert differing(clean, told) == list(INSIDE)
    for i in INSIDE:
        first, second = told[i]
        assert first == second
        assert clean[i][0][:40] == first[:40]
        with pytest.raises(json.JSONDecodeError):
            json.loads(first)
    assert counts == {(rule["kind"], "public"): len(INSIDE) for rule in rules}


async def test_a_rule_for_one_symbol_leaves_the_others_alone() -> None:
    clean, told, count = await both("drop", "books", symbol="ETHUSDT", **WINDOW)
    assert (differing(clean, told), count) == ([], 0)


# --- candles --------------------------------------------------------------------------------------------------------


def starts(steps: list[list[str]]) -> set[int]:
    return {int(row[0]) for step in steps for push in pushes(step) for row in push["data"]}


async def test_candles_of_a_gap_are_never_told() -> None:
    clean, told, count = await both("candle_gap", "candle5m", steps=40, **{"from": "5m", "for": "10m"})
    gone = starts(clean) - starts(told)
    assert len(gone) == 2
    assert starts(told) == starts(clean) - gone
    assert count > 0
    for i in differing(clean, told):
        rows = [row for push in pushes(clean[i]) for row in push["data"]]
        assert [row for push in pushes(told[i]) for row in push["data"]] == [r for r in rows if int(r[0]) not in gone]


async def test_late_candles_are_the_same_candles_later() -> None:
    clean, told, count = await both("late_candle", "candle5m", delay="1m", **WINDOW)
    texts = [text for step in clean for text in step]
    heard = [text for step in told for text in step]
    assert heard == texts[: len(heard)]
    assert count == len(INSIDE)
    assert told[INSIDE[0]] == []


async def test_duplicate_candles_come_twice_in_their_push() -> None:
    clean, told, count = await both("duplicate_candle", "candle5m", "books", **WINDOW)
    for i in INSIDE:
        (before,), (after,) = pushes(clean[i], "candle5m"), pushes(told[i], "candle5m")
        assert after["data"] == [row for row in before["data"] for _ in range(2)]
        assert pushes(told[i], "books") == pushes(clean[i], "books")
    assert differing(clean, told) == list(INSIDE)
    assert count == len(INSIDE)


# --- the account ----------------------------------------------------------------------------------------------------


def reports(steps: list[list[str]], channel: str) -> list[dict[str, Any]]:
    return [row for step in steps for push in pushes(step, channel) for row in push["data"]]


async def test_an_execution_reported_twice_is_the_same_report_twice() -> None:
    clean, _ = await private_story(None, "orders", "fill", "positions")
    told, counts = await private_story(faults({"kind": "fill_twice", "channel": "fill"}), "orders", "fill", "positions")
    assert reports(told, "orders") == reports(clean, "orders")
    assert reports(told, "positions") == reports(clean, "positions")
    assert reports(told, "fill") == [row for row in reports(clean, "fill") for _ in range(2)]
    assert counts == {("fill_twice", "private"): len(reports(clean, "fill"))}
    assert counts[("fill_twice", "private")] == 2


async def test_orders_and_executions_change_places() -> None:
    clean, _ = await private_story(None, "orders", "fill")
    told, counts = await private_story(faults({"kind": "fills_out_of_order"}), "orders", "fill")

    def reported(steps: list[list[str]]) -> list[tuple[str, str, str]]:
        said = [(push["arg"]["channel"], push["data"][0]) for step in steps for push in pushes(step)]
        return [(channel, row["side"], row.get("status", "")) for channel, row in said]

    live, filled, fill = ("orders", "buy", "live"), ("orders", "buy", "filled"), ("fill", "buy", "")
    assert reported(clean)[:3] == [live, filled, fill]
    assert reported(told)[:2] == [filled, live]
    assert sorted(reported(told)) == sorted(reported(clean))
    assert counts[("fills_out_of_order", "private")] >= 2


async def test_missing_pushes_are_missing_and_the_others_are_there() -> None:
    clean, _ = await private_story(None, "orders", "fill", "positions", "account")
    told, counts = await private_story(
        faults({"kind": "push_missing", **SOON}), "orders", "fill", "positions", "account"
    )
    assert reports(told, "account") == reports(clean, "account")
    for channel in ("orders", "fill", "positions"):
        assert reports(clean, channel)
        assert reports(told, channel) == []
    assert counts[("push_missing", "private")] == sum(
        len(pushes(step, channel)) for step in clean for channel in ("orders", "fill", "positions")
    )


async def test_a_private_rule_for_one_symbol_looks_into_the_rows() -> None:
    clean, _ = await private_story(None, "orders", "fill")
    other, nothing = await private_story(
        faults({"kind": "drop", "scope": "private", "symbol": "ETHUSDT"}), "orders", "fill"
    )
    assert (other, nothing) == (clean, {})
    told, _ = await private_story(faults({"kind": "drop", "scope": "private", "symbol": "solusdt"}), "orders", "fill")
    assert [text for step in told for text in step] == []
