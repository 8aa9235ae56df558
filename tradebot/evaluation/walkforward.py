"""Windows of a walk-forward, and one series out of what was earned in their test parts.

::

    |------------- train 30 d -------------|- test 7 d -|
    | fit ............ |purge| validation  |
           |------------- train 30 d -------------|- test 7 d -|      7 d later
           | fit ............ |purge| validation  |

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
    """Moments (ms UTC) of one window. Fitting uses ``[train_from, fit_to)``, choosing ``[validation_from, test_from)``,
    and ``[test_from, test_to)`` is traded. ``purge_ms`` before each later part is used by nothing that ends in it.
    """

    number: int
    train_from_ms: int
    fit_to_ms: int
    validation_from_ms: int
    test_from_ms: int
    test_to_ms: int


def windows(
    from_ms: int,
    to_ms: int,
    *,
    train_ms: int = 30 * DAY_MS,
    test_ms: int = 7 * DAY_MS,
    purge_ms: int,
    validation_share: float = 0.15,
    bar_ms: int = BAR_MS,
) -> tuple[Window, ...]:
    """All windows whose test part ends by ``to_ms``, each one test length later than the one before.

    ``purge_ms``: the span of a label. Raises DataError when not one fits, or nothing would be left to fit on.

    >>> [(w.test_from_ms // DAY_MS, w.test_to_ms // DAY_MS) for w in windows(0, 50 * DAY_MS, purge_ms=600_000)]
    [(30, 37), (37, 44)]
    """
    if not 0 < validation_share < 1 or min(train_ms, test_ms, bar_ms) <= 0 or purge_ms < 0:
        raise DataError("a walk-forward needs lengths above nothing and a share for validation between 0 and 1")
    validation_ms = round(train_ms * validation_share / bar_ms) * bar_ms
    if train_ms - validation_ms - purge_ms <= 0 or validation_ms <= purge_ms:
        raise DataError(f"a training span of {train_ms / DAY_MS:g} days leaves nothing to fit or choose on")
    count = (to_ms - from_ms - train_ms) // test_ms
    if count < 1:
        raise DataError(
            f"{(to_ms - from_ms) / DAY_MS:.1f} days of data are too few for a walk-forward: one window takes "
            f"{(train_ms + test_ms) / DAY_MS:g}"
        )
    found = []
    for number in range(count):
        test_from = from_ms + train_ms + number * test_ms
        validation_from = test_from - validation_ms
        found.append(
            Window(
                number=number + 1,
                train_from_ms=test_from - train_ms,
                fit_to_ms=validation_from - purge_ms,
                validation_from_ms=validation_from,
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
