"""The paced clock, and the engine's timers."""

from __future__ import annotations

from tradebot.shell.clock import PacedClock, Timers


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
