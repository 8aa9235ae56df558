from __future__ import annotations

import random

import pytest

from tradebot.errors import RateLimited
from tradebot.exchange.bitget.budget import PER_SECOND, RateBudget

PLACE = "/api/v2/mix/order/place-order"
CLOSE = "/api/v2/mix/order/close-positions"
DETAIL = "/api/v2/mix/order/detail"
TIME = "/api/v2/public/time"
ALL_POSITIONS = "/api/v2/mix/position/all-position"
SET_ASSET_MODE = "/api/v2/mix/account/set-asset-mode"


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def taken(
    budget: RateBudget, clock: Clock, path: str, for_s: float = 0.99, *, private: bool = True, urgent: bool = False
) -> int:
    """How many requests go within so many seconds."""
    count, until = 0, clock.now + for_s
    while True:
        wait = budget.wait(path, private=private, urgent=urgent)
        if clock.now + wait > until:
            return count
        clock.now += wait
        count += wait == 0


def test_a_second_holds_eighty_percent_of_the_limit() -> None:
    for path, private, most in ((TIME, False, 16), (PLACE, True, 8), (CLOSE, True, 1)):
        clock = Clock()
        assert taken(RateBudget(clock), clock, path, private=private, urgent=True) == most


def test_entries_leave_room_for_stops_and_closes() -> None:
    clock = Clock()
    budget = RateBudget(clock)
    assert taken(budget, clock, PLACE, 0.7) == 5
    assert taken(budget, clock, PLACE, 0.4, urgent=True) == 3
    assert taken(budget, clock, CLOSE, 0) == 1


def test_few_requests_go_at_once_and_the_rest_follow_evenly() -> None:
    clock = Clock()
    budget = RateBudget(clock)
    assert taken(budget, clock, TIME, 0, private=False) == 2
    assert budget.wait(TIME, private=False) == pytest.approx(1 / 16)
    assert taken(RateBudget(clock), clock, PLACE, 0, urgent=True) == 1


@pytest.mark.parametrize("path", [TIME, PLACE, ALL_POSITIONS, SET_ASSET_MODE, CLOSE])
def test_requests_delayed_by_a_tenth_of_a_second_stay_below_the_limit_where_they_arrive(path: str) -> None:
    chance = random.Random(11)
    clock = Clock()
    budget = RateBudget(clock)
    arrived = []
    for _ in range(200):
        for _ in range(chance.randint(1, 60)):
            while (wait := budget.wait(path, private=True, urgent=True)) > 0:
                clock.now += wait
            arrived.append(clock.now + chance.uniform(0, 0.1))
        clock.now += chance.uniform(0, 2)
    arrived.sort()
    limit = PER_SECOND[path]
    assert min(later - at for at, later in zip(arrived, arrived[limit:], strict=False)) > 1.0


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
    assert taken(budget, clock, CLOSE, 0, urgent=True) == 1
    assert budget.wait(CLOSE, private=True, urgent=True) == 1.25


def test_waiting_the_time_told_is_enough() -> None:
    clock = Clock()
    budget = RateBudget(clock)
    taken(budget, clock, PLACE, urgent=True)
    clock.now += budget.wait(PLACE, private=True)
    assert budget.wait(PLACE, private=True) == 0


def test_complaints_rest_the_endpoint_longer_each_time_but_the_urgent_two_seconds_at_most() -> None:
    clock = Clock()
    budget = RateBudget(clock)
    for pause in (1, 2, 4, 8, 16, 30, 30):
        budget.refused(PLACE, private=True, sent=clock.now)
        assert budget.wait(PLACE, private=True) == pause
        assert budget.wait(PLACE, private=True, urgent=True) == min(pause, 2)
        assert budget.wait(DETAIL, private=True) == 0
        clock.now += 31
    budget.succeeded(PLACE)
    budget.refused(PLACE, private=True, sent=clock.now)
    assert budget.wait(PLACE, private=True) == 1


def test_complaints_about_requests_that_went_before_the_rest_are_one() -> None:
    clock = Clock()
    budget = RateBudget(clock)
    sent = clock.now
    for path in (PLACE, PLACE, DETAIL, CLOSE, PLACE):
        clock.now += 0.01
        budget.refused(path, private=True, sent=sent)
    assert budget.wait(PLACE, private=True) == pytest.approx(1 - 0.04)
    assert budget.wait(DETAIL, private=True) == pytest.approx(1 - 0.02)
    assert budget.wait(ALL_POSITIONS, private=True) == 0
    clock.now += 2
    budget.refused(PLACE, private=True, sent=clock.now)
    assert budget.wait(PLACE, private=True) == 2


async def test_what_must_go_soon_is_told_at_once_that_it_cannot() -> None:
    budget = RateBudget(Clock())
    budget.refused(PLACE, private=True, sent=100.0)
    with pytest.raises(RateLimited, match=r"not sent.* 1\.0 s"):
        await budget.acquire(PLACE, private=True, within_s=0.9)
    assert await budget.acquire(DETAIL, private=True, within_s=0.0) == 100.0


def test_three_complaints_in_ten_seconds_rest_the_class_but_not_what_is_urgent() -> None:
    clock = Clock()
    budget = RateBudget(clock)
    for path, pause in ((PLACE, 1), (DETAIL, 1), (PLACE, 60)):
        budget.refused(path, private=True, sent=clock.now)
        assert budget.wait(path, private=True) == pause
        clock.now += 3
    assert budget.wait(CLOSE, private=True) == 57
    assert budget.wait(CLOSE, private=True, urgent=True) == 0
    assert budget.wait(TIME, private=False) == 0
    clock.now += 57
    assert budget.wait(DETAIL, private=True) == 0


def test_the_rest_told_is_the_one_that_is_kept() -> None:
    now = [100.0]
    budget = RateBudget(lambda: now[0])
    assert budget.rest("/a", private=True) == 0
    budget.refused("/a", private=True, sent=99.0)
    assert (budget.rest("/a", private=True), budget.rest("/b", private=True)) == (1.0, 0.0)
    for path in ("/b", "/c"):
        now[0] += 0.1
        budget.refused(path, private=True, sent=now[0] - 0.01)
    assert budget.rest("/other", private=True) == pytest.approx(60.0)
    assert budget.wait("/other", private=True) == pytest.approx(60.0)
    assert budget.rest("/other", private=False) == 0
    assert budget.rest("/other", private=True, urgent=True) == 0
    assert budget.rest("/c", private=True, urgent=True) == pytest.approx(1.0)


def test_a_request_that_must_wait_takes_nothing_of_the_common_budget() -> None:
    budget = RateBudget(Clock())
    assert budget.wait(CLOSE, private=True, urgent=True) == 0
    for _ in range(10_000):
        assert budget.wait(CLOSE, private=True, urgent=True) > 0
    assert budget.wait(PLACE, private=True) == 0


def test_all_endpoints_together_stay_below_six_thousand_a_minute() -> None:
    clock = Clock()
    budget = RateBudget(clock)
    sent = []
    paths = list(PER_SECOND)
    for step in range(120 * 50):
        clock.now = 100 + step / 50
        sent += [clock.now for path in paths if budget.wait(path, private=True, urgent=True) == 0]
    assert len([at for at in sent if at < 160]) == len([at for at in sent if at >= 160]) == 4_800


@pytest.mark.parametrize(
    ("per_second", "path"),
    [
        (20, "market/merge-depth"),
        (20, "market/fills"),
        (10, "order/fills"),
        (10, "market/fills-history"),
        (20, "position/history-position"),
        (5, "account/set-margin"),
        (2, "account/set-asset-mode"),
        (10, "order/modify-tpsl-order"),
        (10, "order/something-new"),
    ],
)
def test_every_endpoint_has_its_own_limit(per_second: int, path: str) -> None:
    clock = Clock()
    assert taken(RateBudget(clock), clock, "/api/v2/mix/" + path, urgent=True) == 1 + int(per_second * 0.8 * 0.99)


def test_a_success_forgives() -> None:
    clock = Clock()
    budget = RateBudget(clock)
    for _ in range(5):
        budget.refused(PLACE, private=True, sent=clock.now)
        assert budget.wait(PLACE, private=True, urgent=True) == 1
        budget.succeeded(PLACE)
        clock.now += 20
