"""How long a run still takes, as its steps are told."""

from __future__ import annotations

import pytest

from tradebot.jobs import JobProgress
from tradebot.training.progress import SHARES, Progress


class Told:
    """A run whose clock is moved by hand."""

    def __init__(self) -> None:
        self.now = 100.0
        self.steps: list[JobProgress] = []
        self.progress = Progress(self.steps.append, clock=lambda: self.now)

    def eta_s(self, stage: str, after_s: float, done: int = 0, total: int = 1) -> float | None:
        self.now += after_s
        self.progress.at(stage, "", done, total)  # type: ignore[arg-type]
        return self.steps[-1].eta_s


def test_a_stage_that_takes_long_is_judged_by_its_own_pace() -> None:
    run = Told()
    run.eta_s("data", 0.0)
    run.eta_s("fit", 1.0, 0, 8)
    found = run.eta_s("fit", 90.0, 1, 8)
    rest = sum(SHARES[name] for name in ("evaluate", "export", "gate", "store"))
    through = 91.0 + 7 * 90.0  # seven more like the first
    assert found == pytest.approx(through / (1.0 - rest) - 91.0)
    assert found is not None
    assert found > 7 * 90.0


def test_what_an_interrupted_run_left_does_not_count_as_pace() -> None:
    run, rest = Told(), sum(SHARES[name] for name in ("fit", "evaluate", "export", "gate", "store"))
    run.eta_s("data", 0.0)
    run.eta_s("tune", 10.0, 0, 50)
    found = run.eta_s("tune", 60.0, 46, 50)  # 45 were there
    assert found == pytest.approx((70.0 + 4 * 60.0) / (1.0 - rest) - 70.0)
    found = run.eta_s("tune", 120.0, 48, 50)
    assert found == pytest.approx((190.0 + 2 * 60.0) / (1.0 - rest) - 190.0)
    run.eta_s("fit", 0.0, 0, 100)
    found = run.eta_s("fit", 20.0, 1, 100)  # another stage, nothing kept
    assert found is not None
    assert found > 99 * 20.0


def test_steps_told_by_the_dozen_are_all_of_this_run() -> None:
    run = Told()
    run.eta_s("fit", 10.0, 0, 250)
    run.now += 50.0
    run.progress.at("fit", "", 25, 250, every=25)
    rest = sum(SHARES[name] for name in ("evaluate", "export", "gate", "store"))
    assert run.steps[-1].eta_s == pytest.approx((60.0 + 9 * 50.0) / (1.0 - rest) - 60.0)


def test_a_stage_that_has_not_begun_is_judged_by_what_went_before() -> None:
    run = Told()
    assert run.eta_s("data", 0.0) is None, "nothing is known yet"
    found = run.eta_s("tune", 10.0, 0, 50)
    assert found == pytest.approx(10.0 * 0.9 / 0.1)


def test_what_waits_says_nothing_and_what_is_done_takes_no_time() -> None:
    run = Told()
    assert run.eta_s("waiting", 5.0) is None
    assert run.eta_s("done", 5.0) == 0.0
    assert sum(SHARES.values()) == pytest.approx(1.0)
