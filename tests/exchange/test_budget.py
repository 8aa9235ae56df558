from __future__ import annotations

from tradebot.exchange.bitget.budget import RateBudget

PLACE = "/api/v2/mix/order/place-order"
CLOSE = "/api/v2/mix/order/close-positions"
TIME = "/api/v2/public/time"


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def taken(budget: RateBudget, path: str, *, private: bool = True, urgent: bool = False) -> int:
    """How many requests go at once."""
    count = 0
    while budget.wait(path, private=private, urgent=urgent) == 0:
        count += 1
    return count


def test_a_second_holds_eighty_percent_of_the_limit() -> None:
    clock = Clock()
    assert taken(RateBudget(clock), TIME, private=False) == 16
    assert taken(RateBudget(clock), PLACE, urgent=True) == 8
    assert taken(RateBudget(clock), CLOSE, urgent=True) == 1


def test_entries_leave_room_for_stops_and_closes() -> None:
    budget = RateBudget(Clock())
    assert taken(budget, PLACE) == 6
    assert taken(budget, PLACE, urgent=True) == 2


def test_no_second_ever_exceeds_eighty_percent() -> None:
    clock = Clock()
    budget = RateBudget(clock)
    sent: list[float] = []
    for _ in range(400):
        wait = budget.wait(PLACE, private=True, urgent=True)
        if wait == 0:
            sent.append(clock.now)
        clock.now += wait or 0.001
    assert len(sent) > 190
    assert max(sum(at <= other < at + 0.999 for other in sent) for at in sent) == 8


def test_a_limit_of_one_a_second_is_kept_with_room() -> None:
    clock = Clock()
    budget = RateBudget(clock)
    assert taken(budget, CLOSE, urgent=True) == 1
    assert budget.wait(CLOSE, private=True, urgent=True) == 1.25


def test_waiting_the_time_told_is_enough() -> None:
    clock = Clock()
    budget = RateBudget(clock)
    taken(budget, PLACE, urgent=True)
    clock.now += budget.wait(PLACE, private=True)
    assert budget.wait(PLACE, private=True) == 0


def test_complaints_rest_the_endpoint_longer_each_time_and_three_in_a_row_a_minute() -> None:
    clock = Clock()
    budget = RateBudget(clock)
    assert budget.wait(PLACE, private=True) == 0
    assert budget.refused(PLACE) == 1
    assert 0 < budget.wait(PLACE, private=True) <= 1
    assert budget.wait(TIME, private=False) == 0
    clock.now += 1.5
    assert budget.refused(PLACE) == 2
    clock.now += 2.5
    assert budget.refused(PLACE) == 60
    assert budget.wait(PLACE, private=True, urgent=True) == 60


def test_a_success_forgives() -> None:
    clock = Clock()
    budget = RateBudget(clock)
    for _ in range(5):
        assert budget.refused(PLACE) == 1
        budget.succeeded(PLACE)
        clock.now += 20
