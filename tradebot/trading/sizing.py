"""How much of the configured order an entry is worth.

A strategy has a field ``size: Sizing`` in its parameters and asks it for the share of what it sees::

    share = self.params.size.share(prospect(view, forecast, "long"))
    return sized(Intent("enter_long", "why"), share)

Every rule gives a share in (0, 1], never less for a better prospect, or None where nothing speaks for an entry or what
it needs is not known. A share only ever makes an order smaller than ``trading.order_notional``; the risk limits are
applied to what comes out.
"""

from __future__ import annotations

from math import isfinite, sqrt
from typing import Literal

import msgspec

from tradebot.events import ForecastReady
from tradebot.trading.strategy import Intent, View

DEVIATION = "rv_48"
"""The catalogue's volatility that a prospect's deviation is made of: of one candle, over four hours of 5m candles."""


class Prospect(msgspec.Struct, frozen=True):
    """What an entry promises over its holding time.

    ``p``: probability that it wins. ``mean_bp``: expected return net of costs, in the entry's direction.
    ``deviation_bp``: standard deviation of the return; None while volatility is not known.
    """

    p: float
    mean_bp: float
    deviation_bp: float | None = None


def prospect(view: View, forecast: ForecastReady, side: Literal["long", "short"], cost_bp: float = 0.0) -> Prospect:
    """The prospect of entering on ``side`` with this forecast, at ``cost_bp`` for entering and leaving.

    The deviation is the volatility of the last four hours, scaled to the horizon by the square root of time.
    """
    volatility = view.row(DEVIATION)
    candles = forecast.horizon_ms / view.interval_ms
    return Prospect(
        p=forecast.p_up if side == "long" else forecast.p_down,
        mean_bp=(forecast.expected_bp if side == "long" else -forecast.expected_bp) - cost_bp,
        deviation_bp=None if volatility is None else 1e4 * volatility * sqrt(candles),
    )


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, tag_field="kind"):
    """Base of all sizing rules."""

    def share(self, seen: Prospect) -> float | None:
        """The share (0, 1] of the configured order, or None: no entry."""
        raise NotImplementedError


class Fixed(Rule, frozen=True, tag="fixed"):
    """Always the same ``part`` of the configured order.

    >>> Fixed(part=0.5).share(Prospect(p=0.9, mean_bp=1.0))
    0.5
    """

    part: float = 1.0

    def __post_init__(self) -> None:
        _in_unit("part", self.part)

    def share(self, seen: Prospect) -> float | None:
        return self.part


class VolatilityTarget(Rule, frozen=True, tag="volatility"):
    """Smaller in wild markets, so that a position's deviation over the holding time stays at ``target_bp`` of a full
    order. In calm markets the order is full, never more.

    >>> VolatilityTarget(target_bp=20).share(Prospect(p=0.5, mean_bp=1.0, deviation_bp=80))
    0.25
    """

    target_bp: float

    def __post_init__(self) -> None:
        _positive("target_bp", self.target_bp)

    def share(self, seen: Prospect) -> float | None:
        deviation = seen.deviation_bp
        if deviation is None or not isfinite(deviation) or deviation < 0:
            return None
        return _share(self.target_bp / deviation if deviation > 0 else 1.0)


class Kelly(Rule, frozen=True, tag="kelly"):
    """A ``fraction`` of the exposure that makes capital grow fastest (Kelly 1956; continuous form: Thorp 2006).

    With ``win_bp`` and ``loss_bp``, what a won and a lost trade bring and cost net, the exposure in multiples of equity
    is p/loss − (1−p)/win; without them it is mean/variance of the prospect. ``full``: the exposure that a full order
    stands for, that is ``trading.order_notional`` / equity. ``cap``: the largest share whatever the edge.

    Kelly's bet is right for a known edge, and an edge is never known: with the whole of it (``fraction`` 1) nothing
    grows any more once the edge is half of what was thought, and below that capital shrinks. Leave the fraction small.

    >>> Kelly(fraction=0.5, full=10, win_bp=100, loss_bp=100).share(Prospect(p=0.75, mean_bp=0.0))
    1.0
    """

    fraction: float = 0.25
    full: float = 1.0
    cap: float = 1.0
    win_bp: float | None = None
    loss_bp: float | None = None

    def __post_init__(self) -> None:
        _in_unit("fraction", self.fraction)
        _in_unit("cap", self.cap)
        _positive("full", self.full)
        if (self.win_bp is None) != (self.loss_bp is None):
            raise ValueError("win_bp and loss_bp belong together: give both or neither")
        for name in ("win_bp", "loss_bp"):
            if getattr(self, name) is not None:
                _positive(name, getattr(self, name))

    def share(self, seen: Prospect) -> float | None:
        exposure = self._exposure(seen)
        if exposure is None or not exposure > 0:
            return None
        share = _share(self.fraction * exposure / self.full)
        return None if share is None else min(self.cap, share)

    def _exposure(self, seen: Prospect) -> float | None:
        if self.win_bp is not None and self.loss_bp is not None:
            if not 0 <= seen.p <= 1:
                return None
            return 1e4 * (seen.p / self.loss_bp - (1 - seen.p) / self.win_bp)
        deviation = seen.deviation_bp
        if deviation is None or not (deviation > 0 and isfinite(seen.mean_bp)):
            return None
        return 1e4 * seen.mean_bp / deviation / deviation


class Confidence(Rule, frozen=True, tag="confidence"):
    """Grows with the probability of winning: ``floor`` at ``least``, the full order from ``full`` on; below ``least``
    no entry.

    The probability is that of the predicted class. A model with three classes rarely says 0.5 for one of them.

    >>> Confidence(least=0.4, full=0.6, floor=0.5).share(Prospect(p=0.5, mean_bp=1.0))
    0.75
    """

    least: float = 0.34
    full: float = 0.66
    floor: float = 0.25

    def __post_init__(self) -> None:
        _in_unit("floor", self.floor)
        if not 0 <= self.least < self.full <= 1:
            raise ValueError(f"0 <= least < full <= 1 must hold, got least {self.least} and full {self.full}")

    def share(self, seen: Prospect) -> float | None:
        if not seen.p >= self.least:
            return None
        way = min(1.0, (seen.p - self.least) / (self.full - self.least))
        return _share(self.floor + (1 - self.floor) * way)


Sizing = Fixed | VolatilityTarget | Kelly | Confidence
"""Any of the rules; in the configuration ``size: {kind: kelly, fraction: 0.2}`` and the like."""


def sized(entry: Intent, share: float | None) -> Intent:
    """``entry`` at this share of the configured order; a hold with its reason when there is none."""
    if share is None:
        return Intent("hold", f"{entry.reason}: nothing to stake on it")
    return msgspec.structs.replace(entry, size=share)


def _share(value: float) -> float | None:
    """``value`` capped at 1; None when it is too small to be a number above 0, or none at all."""
    return min(1.0, value) if value > 0 else None


def _in_unit(name: str, value: float) -> None:
    if not 0 < value <= 1:
        raise ValueError(f"{name} must lie in (0, 1], got {value}")


def _positive(name: str, value: float) -> None:
    if not (isfinite(value) and value > 0):
        raise ValueError(f"{name} must be a positive number, got {value}")
