"""The bot's clock on a real exchange."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradebot.daemon.clock import WallClock

EPOCH_MS = 1_759_999_995_000
"""What the wall clock of ``Machine`` shows when its steady clock shows 0."""


class Machine:
    """The two clocks of a machine: the one people set, and the one nobody sets."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.wall_ms = 1_760_000_000_000
        self.steady_ms = 5_000
        monkeypatch.setattr(time, "time_ns", lambda: self.wall_ms * 1_000_000)
        monkeypatch.setattr(time, "monotonic_ns", lambda: self.steady_ms * 1_000_000)

    def wait(self, ms: int) -> None:
        self.wall_ms += ms
        self.steady_ms += ms

    def ask(self, clock: WallClock, ahead_ms: int, there_ms: int = 5, back_ms: int = 5) -> None:
        """Ask an exchange whose clock is ``ahead_ms`` of ours was at the start; the way there and back takes time."""
        sent = self.steady_ms
        self.wait(there_ms)
        said = self.steady_ms + EPOCH_MS + ahead_ms
        self.wait(back_ms)
        clock.measured(sent * 1_000_000, self.steady_ms * 1_000_000, said)


def test_until_it_is_measured_the_exchange_s_time_is_the_machine_s(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch)
    clock = WallClock()
    machine.wait(700)
    assert (clock.now_ms(), clock.offset_ms) == (machine.wall_ms, 0)


def test_one_answer_bounds_the_exchange_s_time_by_its_way(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch)
    clock = WallClock()
    machine.ask(clock, -250, there_ms=10, back_ms=90)
    true = machine.steady_ms + EPOCH_MS - 250
    assert abs(clock.now_ms() - true) <= clock.error_ms <= 51
    machine.wait(1_500)
    assert abs(clock.offset_ms + 250) <= 51


@given(
    ways=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 400), st.integers(0, 20_000)), min_size=1, max_size=30),
    ahead_ms=st.integers(-5_000, 5_000),
    ppm=st.integers(-150, 150),
)
def test_the_true_time_is_always_within_the_bounds_however_slow_and_lopsided_the_way(
    ways: list[tuple[int, int, int]], ahead_ms: int, ppm: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        machine = Machine(patch)
        began = machine.steady_ms
        clock = WallClock()

        def ahead() -> int:
            return ahead_ms + round((machine.steady_ms - began) * ppm * 1e-6)

        for there_ms, back_ms, pause_ms in ways:
            machine.ask(clock, ahead(), there_ms, back_ms)
            true = machine.steady_ms + EPOCH_MS + ahead()
            assert abs(clock.now_ms() - true) <= clock.error_ms + 2
            machine.wait(pause_ms)
        assert clock.steps == 0


def test_many_answers_know_it_better_than_one(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch)
    clock = WallClock()
    machine.ask(clock, 40, there_ms=100, back_ms=2)
    alone = clock.error_ms
    machine.ask(clock, 40, there_ms=2, back_ms=100)
    assert clock.error_ms < alone / 10


@pytest.mark.parametrize("jump_ms", [3_600_000, -3_600_000])
def test_setting_the_machines_clock_moves_nothing_and_shows_at_once(
    monkeypatch: pytest.MonkeyPatch, jump_ms: int
) -> None:
    machine = Machine(monkeypatch)
    clock = WallClock()
    machine.ask(clock, 40)
    before = clock.now_ms()
    machine.wall_ms += jump_ms
    assert abs(clock.offset_ms - (40 - jump_ms)) <= 6
    machine.wait(1_000)
    assert clock.now_ms() == before + 1_000
    machine.ask(clock, 40)
    assert abs(clock.now_ms() - (before + 1_010)) <= 6
    assert clock.steps == 0


def test_an_exchange_that_sets_its_clock_is_followed_by_its_next_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch)
    clock = WallClock()
    for _ in range(10):
        machine.ask(clock, 40)
        machine.wait(10_000)
    machine.ask(clock, 5_040)
    assert clock.steps == 1
    assert abs(clock.now_ms() - (machine.steady_ms + EPOCH_MS + 5_040)) <= 6


def test_the_drift_between_the_clocks_is_told_after_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch)
    clock = WallClock()
    for n in range(200):
        machine.ask(clock, n // 10, there_ms=1, back_ms=1)  # 1 ms in ten times 10 s: 10 ppm
        machine.wait(9_998)
    assert clock.steps == 0
    assert 5 < clock.drift_ppm < 15
