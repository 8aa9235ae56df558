"""The bot's clock and its timers."""

from __future__ import annotations

import time

import pytest

from tradebot.daemon.clock import PacedClock, Timers, WallClock


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


def test_exchange_time_is_local_time_plus_the_offset_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch)
    clock = WallClock()
    assert (clock.now_ms(), clock.offset_ms) == (machine.wall_ms, 0)
    clock.synchronise(-250)
    machine.wait(1_500)
    assert (clock.now_ms(), clock.offset_ms) == (machine.wall_ms - 250, -250)


@pytest.mark.parametrize("jump_ms", [3_600_000, -3_600_000])
def test_setting_the_machines_clock_moves_nothing(monkeypatch: pytest.MonkeyPatch, jump_ms: int) -> None:
    machine = Machine(monkeypatch)
    clock = WallClock()
    clock.synchronise(40)
    before = clock.now_ms()
    machine.wall_ms += jump_ms
    machine.wait(1_000)
    assert clock.now_ms() == before + 1_000
    clock.synchronise(40 - jump_ms)  # what the next measurement finds
    assert clock.now_ms() == before + 1_000
    assert clock.offset_ms == 40 - jump_ms


def test_the_paced_clock_is_moved_by_steps_and_never_back() -> None:
    clock = PacedClock()
    clock.advance(10)
    clock.advance(7)
    assert clock.now_ms() == 10


def test_timers_fire_in_order_of_time_then_name_and_can_be_moved_and_taken_back() -> None:
    timers = Timers()
    timers.set("b", 20)
    timers.set("a", 20)
    timers.set("c", 10)
    timers.set("d", 5)
    timers.set("d", 0)
    timers.set("c", 30)
    assert timers.next_due_ms() == 20
    assert timers.pop_due(25) == [("a", 20), ("b", 20)]
    assert timers.pop_due(25) == []
    assert timers.pop_due(30) == [("c", 30)]
    assert timers.next_due_ms() is None
