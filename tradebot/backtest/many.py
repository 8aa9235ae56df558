"""Many back-tests beside each other, each in a process of its own: parameter sets, seeds, windows."""

from __future__ import annotations

import logging
import multiprocessing
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from multiprocessing.synchronize import Event

import structlog

from tradebot.backtest.single import Outcome, Spec, run_backtest

LOOK_EVERY_S = 0.5

_stopping: Event | None = None
"""In a worker: set when everybody is to stop."""


def run_many(
    specs: Sequence[Spec],
    jobs: int,
    *,
    on_done: Callable[[int, Outcome], None] = lambda number, outcome: None,
    stop: Callable[[], bool] = lambda: False,
) -> list[Outcome | None]:
    """The outcomes in the order of ``specs``, whatever finishes first; ``jobs`` processes at a time.

    ``on_done`` is told the place of each that is complete, as soon as it is. With ``stop`` those under way end early
    (their outcome says so) and the others are None. Nothing is trained here: models come from each spec's store.
    Raises what the first run that failed raised; the others are stopped then.
    """
    outcomes: list[Outcome | None] = [None] * len(specs)
    if not specs:
        return outcomes
    context = multiprocessing.get_context("spawn")
    stopping = context.Event()
    with ProcessPoolExecutor(
        min(max(jobs, 1), len(specs)), mp_context=context, initializer=_begin, initargs=(stopping,)
    ) as pool:
        places = {pool.submit(_run, spec): number for number, spec in enumerate(specs)}
        left: set[Future[Outcome | None]] = set(places)
        try:
            while left:
                done, left = wait(left, timeout=LOOK_EVERY_S, return_when=FIRST_COMPLETED)
                for future in done:
                    outcome = outcomes[places[future]] = future.result()
                    if outcome is not None:
                        on_done(places[future], outcome)
                if left and stop():
                    stopping.set()
        except BaseException:
            stopping.set()
            for future in left:
                future.cancel()
            raise
    return outcomes


def _begin(stopping: Event) -> None:
    """A worker leaves Ctrl-C to its parent, which tells it what to do."""
    global _stopping
    _stopping = stopping
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # what a run says of itself it says to its parent; only trouble is printed
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))


def _run(spec: Spec) -> Outcome | None:
    assert _stopping is not None
    return None if _stopping.is_set() else run_backtest(spec, stop=_stopping.is_set)
