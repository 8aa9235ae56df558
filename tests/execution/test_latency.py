"""Latencies are drawn from names: the same again in every run, and distributed as configured."""

from __future__ import annotations

import pytest

from tradebot.execution.latency import Latency, lognormal, uniform

NAMES = [f"PlaceOrder:tb0-1-{number}-e" for number in range(20_000)]


def share(latency: Latency, least: float, most: float) -> float:
    return sum(least <= latency(name) <= most for name in NAMES) / len(NAMES)


def test_a_uniform_latency_takes_every_value_and_no_other() -> None:
    taken = {uniform(20, 24)(name) for name in NAMES[:200]}
    assert taken == {20, 21, 22, 23, 24}
    assert uniform(7, 7)("x") == 7


@pytest.mark.parametrize(("median", "p99"), [(30, 200), (100, 1_000), (50, 60)])
def test_a_lognormal_latency_has_its_median_and_its_99th_percentile(median: int, p99: int) -> None:
    latency = lognormal(median, p99)
    assert share(latency, 0, median - 0.5) == pytest.approx(0.5, abs=0.08 if p99 < 2 * median else 0.02)
    assert share(latency, 0, p99) == pytest.approx(0.99, abs=0.004)
    assert max(map(latency, NAMES)) < p99 * (p99 / median) ** 1.5
    assert min(map(latency, NAMES)) > 0


def test_a_latency_is_a_function_of_the_name() -> None:
    for latency in (uniform(20, 2_000), lognormal(30, 200)):
        assert [latency(name) for name in NAMES[:50]] == [latency(name) for name in NAMES[:50]]
        assert len({latency(name) for name in NAMES[:50]}) > 5


@pytest.mark.parametrize(
    ("make", "bad"), [(uniform, (80, 20)), (uniform, (-1, 5)), (lognormal, (0, 5)), (lognormal, (9, 5))]
)
def test_a_distribution_that_is_none_is_refused(make: object, bad: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="latency must be"):
        make(*bad)  # type: ignore[operator]
