"""Subscriptions that say nothing: doubted, renewed, given up, and quiet instruments left in peace."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradebot.exchange.bitget.silence import LONGEST, RENEWALS, Silence

PATIENCE, ANSWER = 60_000, 10_000
T0 = 1_760_000_000_000


class Rig:
    def __init__(self) -> None:
        self.now_ms = T0
        self.silence = Silence(lambda: self.now_ms, patience_ms=PATIENCE, answer_ms=ANSWER)

    def overdue(self, after_ms: int) -> list[tuple[str, str, str]]:
        """What is overdue a while later: channel, symbol, what to do."""
        self.now_ms += after_ms
        return [(channel, symbol, step) for channel, symbol, _, step in self.silence.overdue()]


def test_what_is_heard_in_time_is_never_doubted() -> None:
    rig = Rig()
    rig.silence.watch("books", "A")
    for _ in range(100):
        assert rig.overdue(PATIENCE - 1) == []
        assert rig.silence.heard("books", "A", rig.now_ms) is False
    assert rig.silence.next_due_ms() == rig.now_ms + PATIENCE


def test_silence_is_doubted_when_patience_is_over_and_the_other_symbols_are_not() -> None:
    rig = Rig()
    for symbol in "AB":
        rig.silence.watch("books", symbol)
    rig.now_ms += 30_000
    rig.silence.heard("books", "B", rig.now_ms)
    assert rig.silence.next_due_ms() == T0 + PATIENCE
    assert rig.overdue(30_000) == [("books", "A", "renew")]
    assert rig.overdue(0) == []


def test_a_subscription_that_stays_silent_is_renewed_and_then_its_connection_given_up() -> None:
    rig = Rig()
    rig.silence.watch("ticker", "A")
    steps = [rig.overdue(PATIENCE)] + [rig.overdue(ANSWER) for _ in range(RENEWALS)]
    assert steps == [[("ticker", "A", "renew")]] * RENEWALS + [[("ticker", "A", "reconnect")]]


def test_an_instrument_at_rest_answers_and_is_asked_less_and_less_often() -> None:
    rig = Rig()
    rig.silence.watch("books", "A")
    pauses = []
    for _ in range(8):
        asked = rig.now_ms
        due = rig.silence.next_due_ms()
        assert due is not None
        assert rig.overdue(due - rig.now_ms) == [("books", "A", "renew")]
        pauses.append(rig.now_ms - asked)
        assert rig.silence.heard("books", "A", rig.now_ms) is True
    assert pauses == [PATIENCE * min(2**n, LONGEST) for n in range(8)]
    rig.silence.heard("books", "A", rig.now_ms)  # it speaks by itself
    assert rig.silence.next_due_ms() == rig.now_ms + PATIENCE


def test_what_a_lost_connection_carried_is_not_waited_for_until_it_is_acknowledged_again() -> None:
    rig = Rig()
    rig.silence.watch("books", "A")
    rig.silence.forget([("books", "A")])
    assert rig.silence.next_due_ms() is None
    assert rig.overdue(10 * PATIENCE) == []
    rig.silence.watch("books", "A")
    assert rig.silence.next_due_ms() == rig.now_ms + PATIENCE


def test_a_doubt_rests_while_its_connection_is_away() -> None:
    rig = Rig()
    rig.silence.watch("books", "A")
    assert rig.overdue(PATIENCE)
    rig.silence.forget([("books", "A")])
    assert rig.silence.next_due_ms() is None
    assert rig.overdue(100 * PATIENCE) == []
    rig.silence.watch("books", "A")
    assert rig.silence.next_due_ms() == rig.now_ms + PATIENCE
    assert rig.overdue(PATIENCE) == [("books", "A", "renew")]


def test_a_connection_given_up_again_and_again_is_given_up_less_and_less_often() -> None:
    """A dead subscription must not take the others of its connection down every minute."""
    rig = Rig()
    rig.silence.watch("books", "A")
    moments = []
    for _ in range(6):
        while True:
            due = rig.silence.next_due_ms()
            assert due is not None
            found = rig.overdue(due - rig.now_ms)
            if found[0][2] == "reconnect":
                break
        moments.append(rig.now_ms)
        rig.silence.forget([("books", "A")])
        rig.silence.watch("books", "A")
    pauses = [later - before for before, later in itertools.pairwise(moments)]
    assert pauses == sorted(pauses)
    assert pauses[-1] >= LONGEST * PATIENCE


def test_a_candle_may_rest_as_long_as_it_lasts() -> None:
    rig = Rig()
    rig.silence.watch("candle5m", "A")
    assert rig.silence.next_due_ms() == T0 + 300_000 + PATIENCE


@pytest.mark.parametrize("channel", ["trade", "orders", "fill", "positions"])
def test_channels_on_which_nothing_need_happen_are_not_watched(channel: str) -> None:
    rig = Rig()
    rig.silence.watch(channel, "A")
    assert rig.silence.next_due_ms() is None
    assert rig.silence.heard(channel, "A", rig.now_ms) is False


@given(st.lists(st.tuples(st.integers(0, 25_000), st.sampled_from("ABC"), st.booleans()), max_size=120))
def test_the_next_moment_is_never_later_than_the_first_overdue_one(acts: list[tuple[int, str, bool]]) -> None:
    rig = Rig()
    for symbol in "ABC":
        rig.silence.watch("books", symbol)
    for pause, symbol, speaks in acts:
        due = rig.silence.next_due_ms()
        assert due is not None
        found = rig.overdue(pause)
        assert bool(found) == (rig.now_ms >= due)
        if speaks:
            rig.silence.heard("books", symbol, rig.now_ms)
