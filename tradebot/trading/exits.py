"""Ways out of a position, to be combined.

A strategy lists them in its parameters and asks for the first that is due::

    class Params(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
        exits: tuple[Exit, ...] = (Reversal(), TimeExit(horizons=1))

    reason = first(self.params.exits, view, wanted="short")      # while it holds
    return protected(Intent("enter_long", "why"), self.params.exits, view)     # when it enters

There are two sorts. ``StopLoss``, ``TakeProfit`` and ``VolatilityStop`` stand on the exchange from the entry on and
work without the bot; they are distances that ``protected`` writes into the entry. ``Trailing``, ``TimeExit`` and
``Reversal`` are looked at whenever the strategy is asked. All are functions of the view alone, so a restart and a
replay find what the run found. Distances are bp of the entry price, gains are those at mark before fees.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import isfinite
from typing import Literal

import msgspec

from tradebot.trading.strategy import Intent, View

Wanted = Literal["long", "short", "flat"]
"""What the strategy would enter now if it held nothing. None in its place: nobody knows, there is no forecast."""

WHOLE_BP = 1e4
"""The whole price: further away nothing can stand."""

ATR = "atr_pct"
"""The catalogue's average true range (Wilder, 14 candles) as a share of the price."""


class Way(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, tag_field="kind"):
    """Base of all exits."""

    def due(self, view: View, wanted: Wanted | None) -> str | None:
        """Why the position that the view shows is to be left now, or None. Not asked while nothing is held."""
        return None

    def stop_bp(self, view: View) -> float | None:
        """Distance of the protective stop of an entry made now."""
        return None

    def take_profit_bp(self, view: View) -> float | None:
        """Distance of the take-profit of an entry made now."""
        return None


class StopLoss(Way, frozen=True, tag="stop_loss"):
    """A stop on the exchange, ``bp`` from the entry. Where risk's own stop lies closer, that one counts."""

    bp: float

    def __post_init__(self) -> None:
        _distance("bp", self.bp)

    def stop_bp(self, view: View) -> float | None:
        return self.bp


class TakeProfit(Way, frozen=True, tag="take_profit"):
    """A take-profit on the exchange, ``bp`` from the entry."""

    bp: float

    def __post_init__(self) -> None:
        _distance("bp", self.bp)

    def take_profit_bp(self, view: View) -> float | None:
        return self.bp


class VolatilityStop(Way, frozen=True, tag="volatility_stop"):
    """A stop on the exchange as far away as ``atr`` average true ranges at the moment of the entry.

    While the range is not known, the entry has risk's stop alone.
    """

    atr: float

    def __post_init__(self) -> None:
        _positive("atr", self.atr)

    def stop_bp(self, view: View) -> float | None:
        return _range_bp(view, self.atr)


class Trailing(Way, frozen=True, tag="trailing"):
    """Leave when the gain has fallen from its best by ``bp``, or by ``atr`` average true ranges as they are now.

    It begins once the gain has reached ``armed_bp``. Best and present gain are those of ``view.holding``.
    """

    bp: float | None = None
    atr: float | None = None
    armed_bp: float = 0.0

    def __post_init__(self) -> None:
        _one_of(bp=self.bp, atr=self.atr)
        if not (isfinite(self.armed_bp) and self.armed_bp >= 0):
            raise ValueError(f"armed_bp must be 0 or more, got {self.armed_bp}")

    def due(self, view: View, wanted: Wanted | None) -> str | None:
        distance = self.bp if self.atr is None else _range_bp(view, self.atr)
        best, now = view.holding.best_bp, view.holding.unrealised_bp
        if distance is None or best < self.armed_bp or best - now < distance:
            return None
        return f"gain fell from {best:.2f} to {now:.2f} bp, further than {distance:.2f}"


class TimeExit(Way, frozen=True, tag="time"):
    """Leave after so many ``candles``, or ``horizons`` of the model (the first one that serves the symbol), or
    ``seconds`` since the first execution.

    Candles and horizons are counted in closes: an entry acts a moment after the close that decided it, and leaves at a
    close. ``renew``: stay while the strategy would enter the same way again.
    """

    candles: int | None = None
    horizons: float | None = None
    seconds: float | None = None
    renew: bool = False

    def __post_init__(self) -> None:
        _one_of(candles=self.candles, horizons=self.horizons, seconds=self.seconds)

    def due(self, view: View, wanted: Wanted | None) -> str | None:
        held = view.holding.candles
        if self.renew and wanted == view.holding.side:
            return None
        if self.candles is not None:
            return f"held {held} candles of {self.candles}" if held >= self.candles else None
        if self.seconds is not None:
            held_s = view.holding.held_ms / 1e3
            return f"held {held_s:.1f} s of {self.seconds}" if held_s >= self.seconds else None
        horizon_ms = view.model.horizon_ms if view.model is not None else 0
        over = held * view.interval_ms >= (self.horizons or 0.0) * horizon_ms
        return f"held {held} candles, horizon over" if over else None


class Reversal(Way, frozen=True, tag="reversal"):
    """Leave when the strategy would enter the other way; with ``fade`` also when it would not enter at all."""

    fade: bool = False

    def due(self, view: View, wanted: Wanted | None) -> str | None:
        if wanted in (None, view.holding.side) or (wanted == "flat" and not self.fade):
            return None
        return "signal faded" if wanted == "flat" else f"signal turned {wanted}"


Exit = StopLoss | TakeProfit | VolatilityStop | Trailing | TimeExit | Reversal
"""Any of them; in the configuration ``exits: [{kind: trailing, bp: 30}, {kind: time, candles: 12}]``."""


def first(exits: Iterable[Way], view: View, wanted: Wanted | None = None) -> str | None:
    """The reason of the first exit that is due, in the order given; None while none is, or nothing is held."""
    if view.holding.side == "flat":
        return None
    return next((reason for way in exits if (reason := way.due(view, wanted)) is not None), None)


def protected(entry: Intent, exits: Iterable[Way], view: View) -> Intent:
    """``entry`` with the closest stop and the closest take-profit that the exits ask for, itself included; what is no
    entry stays as it is."""
    if entry.action not in ("enter_long", "enter_short"):
        return entry
    ways = tuple(exits)
    stops = [entry.stop_bp, *(way.stop_bp(view) for way in ways)]
    profits = [entry.take_profit_bp, *(way.take_profit_bp(view) for way in ways)]
    return msgspec.structs.replace(entry, stop_bp=_closest(stops), take_profit_bp=_closest(profits))


def _closest(distances: Iterable[float | None]) -> float | None:
    return min((d for d in distances if d is not None and d < WHOLE_BP), default=None)


def _range_bp(view: View, multiple: float) -> float | None:
    share = view.row(ATR)
    return 1e4 * share * multiple if share is not None and share > 0 else None


def _positive(name: str, value: float) -> None:
    if not (isfinite(value) and value > 0):
        raise ValueError(f"{name} must be a positive number, got {value}")


def _distance(name: str, value: float) -> None:
    if not 0 < value < WHOLE_BP:
        raise ValueError(f"{name} must lie in (0, {WHOLE_BP:.0f}), got {value}")


def _one_of(**given: float | None) -> None:
    present = {name: value for name, value in given.items() if value is not None}
    if len(present) != 1:
        raise ValueError(f"give one of {', '.join(given)}; got {' and '.join(present) or 'none'}")
    for name, value in present.items():
        _positive(name, value)
