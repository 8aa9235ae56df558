"""Windows of a walk-forward, and one series out of what was earned in their test parts.

::

    |------------- train 30 d --------------|- test 7 d -|
    | fit .......... |gap| validation | gap |
           |------------- train 30 d --------------|- test 7 d -|      7 d later
           | fit .......... |gap| validation | gap |

Rolling, as drawn, or expanding: every window then fits on everything before it.

The test parts lie end to end: together they are one stretch in which every decision was made by a model (or by
parameters) fitted before it. Figures come from that stretch only; the best window is nobody's result.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tradebot.errors import DataError
from tradebot.evaluation.bootstrap import Floats, Ints
from tradebot.market.candle import DAY_MS, MINUTE_MS

BAR_MS = 5 * MINUTE_MS


@dataclass(frozen=True, slots=True)
class Window:
    """Moments (ms UTC) of one window. Fitting uses what begins and is known in ``[train_from, fit_to]``, choosing what
    is in ``[validation_from, validation_to]``, and what begins in ``[test_from, test_to)`` is traded.
    """

    number: int
    train_from_ms: int
    fit_to_ms: int
    validation_from_ms: int
    validation_to_ms: int
    test_from_ms: int
    test_to_ms: int


def windows(
    from_ms: int,
    to_ms: int,
    *,
    train_ms: int = 30 * DAY_MS,
    test_ms: int = 7 * DAY_MS,
    gap_ms: int,
    validation_share: float = 0.15,
    bar_ms: int = BAR_MS,
    expanding: bool = False,
) -> tuple[Window, ...]:
    """All windows whose test part ends by ``to_ms``, each one test length later than the one before.

    ``gap_ms``: what is left out before each later part, an embargo or at least the span of a label; of the training
    span without its two gaps ``validation_share`` is for choosing. ``expanding``: training begins at ``from_ms`` in
    every window. Raises DataError when not one fits, or nothing would be left to fit or choose on.

    >>> [(w.test_from_ms // DAY_MS, w.test_to_ms // DAY_MS) for w in windows(0, 50 * DAY_MS, gap_ms=600_000)]
    [(30, 37), (37, 44)]
    """
    if not 0 < validation_share < 1 or min(train_ms, test_ms, bar_ms) <= 0 or gap_ms < 0:
        raise DataError("a walk-forward needs lengths above nothing and a share for validation between 0 and 1")
    if round((train_ms - 2 * gap_ms) * validation_share / bar_ms) < 1:
        raise DataError(
            f"a training span of {train_ms / DAY_MS:g} days leaves nothing to fit or choose on: "
            f"{2 * gap_ms / DAY_MS:.3g} days of it are kept free between its parts; give it more days"
        )
    count = (to_ms - from_ms - train_ms) // test_ms
    if count < 1:
        raise DataError(
            f"{(to_ms - from_ms) / DAY_MS:.1f} days of data are too few for a walk-forward: one window takes "
            f"{(train_ms + test_ms) / DAY_MS:g}"
        )
    found = []
    for number in range(count):
        test_from = from_ms + train_ms + number * test_ms
        train_from = from_ms if expanding else test_from - train_ms
        used_ms = test_from - train_from - 2 * gap_ms
        validation_to = test_from - gap_ms
        validation_from = validation_to - round(used_ms * validation_share / bar_ms) * bar_ms
        found.append(
            Window(
                number=number + 1,
                train_from_ms=train_from,
                fit_to_ms=validation_from - gap_ms,
                validation_from_ms=validation_from,
                validation_to_ms=validation_to,
                test_from_ms=test_from,
                test_to_ms=test_from + test_ms,
            )
        )
    return tuple(found)


def end_to_end(curves: Sequence[tuple[Ints, Floats]]) -> tuple[Ints, Floats]:
    """One curve out of several ``(ts_ms, equity)``, each scaled to go on where the one before ended.

    A moment that two share is told once, by the earlier. Raises DataError when they overlap in time.

    >>> first, second = (np.array([0, 1]), np.array([10.0, 20.0])), (np.array([1, 2]), np.array([10.0, 5.0]))
    >>> times, equity = end_to_end([first, second])
    >>> times.tolist(), equity.tolist()
    ([0, 1, 2], [10.0, 20.0, 10.0])
    """
    if not curves:
        raise DataError("there is no window to put together")
    times, equity = [np.asarray(curves[0][0], dtype=np.int64)], [np.asarray(curves[0][1], dtype=np.float64)]
    for ts_ms, curve in curves[1:]:
        last = times[-1][-1]
        if ts_ms[0] < last:
            raise DataError("windows overlap in time; they must lie end to end")
        new = np.asarray(ts_ms) > last
        times.append(np.asarray(ts_ms, dtype=np.int64)[new])
        equity.append(np.asarray(curve, dtype=np.float64)[new] * (float(equity[-1][-1]) / float(curve[0])))
    return np.concatenate(times), np.concatenate(equity)
