"""Faults in the exchange's own state: what happens to the contract or the account without the client's doing.

1. *waiting* – its time has not come, or (a position to close, a leverage to change) what it needs is not there yet:
   tried again at every step until its time is over.
2. *in force* – it happened.
3. *over* – its time has passed or it was cleared: what can be taken back is taken back.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from tradebot.market.instrument import Instrument
from tradebot.matching.orders import OrderRefused
from tradebot.sim.faults.agenda import Agenda
from tradebot.sim.faults.armed import Armed
from tradebot.sim.params import Params

if TYPE_CHECKING:
    from tradebot.sim.exchange import Exchange

PRICES: Final = (
    "price", "triggerPrice", "executePrice", "presetStopLossPrice", "presetStopSurplusPrice", "newPrice",
)  # fmt: skip
"""Members of requests that must lie on the tick."""


class ExchangeFaults:
    """Acts on the venue of ``exchange`` when a rule's time has come, and undoes it afterwards."""

    def __init__(self, agenda: Agenda, exchange: Exchange) -> None:
        self._agenda = agenda
        self._exchange = exchange
        self._waiting: dict[tuple[int, str], Callable[[int], bool]] = {}
        """Attempts by rule and symbol; true when done."""
        self._undo: dict[tuple[int, str], Callable[[int], bool]] = {}
        self._ticks: dict[str, Decimal] = {}
        self._unlisted: set[str] = set()

    def arm(self, armed: Armed) -> None:
        self._agenda.at(armed.from_ms, lambda now_ms: self._begin(armed, now_ms))
        if armed.until_ms is not None:
            self._agenda.at(armed.until_ms, lambda now_ms: self.end(armed, now_ms))

    def advance(self, now_ms: int) -> bool:
        """Try again what could not be done so far; true when something was done."""
        done = [key for key, attempt in list(self._waiting.items()) if attempt(now_ms)]
        for key in done:
            self._waiting.pop(key, None)
        return bool(done)

    def end(self, armed: Armed, now_ms: int) -> None:
        """Take a rule's acts back; what cannot be taken back yet is tried again."""
        for key in [key for key in self._waiting if key[0] == armed.number]:
            del self._waiting[key]
        for key in [key for key in self._undo if key[0] == armed.number]:
            undo = self._undo.pop(key)
            if not undo(now_ms):
                self._waiting[key] = undo

    def terms(self, instrument: Instrument) -> Instrument:
        """The contract as clients are told it: with the tick of a change that is in force."""
        tick = self._ticks.get(instrument.symbol)
        return instrument if tick is None else replace(instrument, tick=tick)

    def lists(self, symbol: str) -> bool:
        """Whether clients that ask for the contracts are told of this one."""
        return symbol not in self._unlisted

    def check_prices(self, params: Params) -> None:
        """Raises OrderRefused 45115 for a price off the changed tick."""
        tick = self._ticks.get(params.upper("symbol")) if self._ticks else None
        if tick is None:
            return
        for name in PRICES:
            price = params.positive_or_none(name)
            if price is not None and price % tick:
                raise OrderRefused("45115", f"The {name} you entered should be a multiple of {tick}")

    # --- acts -------------------------------------------------------------------------------------------------------

    def _begin(self, armed: Armed, now_ms: int) -> None:
        if armed.cleared:
            return
        for symbol in [armed.rule.symbol] if armed.rule.symbol else list(self._exchange.markets):
            attempt = self._attempt(armed, symbol)
            if not attempt(now_ms):
                self._waiting[(armed.number, symbol)] = attempt

    def _attempt(self, armed: Armed, symbol: str) -> Callable[[int], bool]:
        parameters = armed.rule.parameters
        match armed.rule.kind:
            case "maintenance":
                return lambda now_ms: self._status(armed, symbol, "maintain", now_ms)
            case "delisting" if parameters["status"] == "gone":
                return lambda now_ms: self._unlist(armed, symbol, now_ms)
            case "delisting":
                return lambda now_ms: self._status(armed, symbol, parameters["status"], now_ms)
            case "tick_change":
                return lambda now_ms: self._tick(armed, symbol, parameters["factor"])
            case "leverage_changed_outside":
                return lambda now_ms: self._leverage(armed, symbol, parameters["leverage"], now_ms)
            case _:  # position_closed_outside
                return lambda now_ms: self._close(armed, symbol, parameters["by"], now_ms)

    def _status(self, armed: Armed, symbol: str, status: str, now_ms: int) -> bool:
        venue = self._exchange.venue
        before = venue.instruments[symbol]
        if not armed.strikes():
            return True
        moment = {"maintain": "maintain_time_ms", "limit_open": "limit_open_time_ms", "off": "off_time_ms"}[status]
        venue.set_instrument(replace(before, status=status, **{moment: now_ms}), now_ms)

        def undo(later_ms: int) -> bool:
            present = venue.instruments[symbol]
            restored = replace(present, status=before.status, **{moment: getattr(before, moment)})
            venue.set_instrument(restored, later_ms)
            return True

        self._undo[(armed.number, symbol)] = undo
        return True

    def _unlist(self, armed: Armed, symbol: str, now_ms: int) -> bool:
        self._status(armed, symbol, "off", now_ms)
        key = (armed.number, symbol)
        listed_again = self._undo.get(key)
        if listed_again is not None:
            self._unlisted.add(symbol)

            def undo(later_ms: int) -> bool:
                self._unlisted.discard(symbol)
                return listed_again(later_ms)

            self._undo[key] = undo
        return True

    def _tick(self, armed: Armed, symbol: str, factor: int) -> bool:
        if armed.strikes():
            self._ticks[symbol] = self._exchange.venue.instruments[symbol].tick * factor
            self._undo[(armed.number, symbol)] = lambda now_ms: self._ticks.pop(symbol, None) is not None
        return True

    def _leverage(self, armed: Armed, symbol: str, leverage: int, now_ms: int) -> bool:
        venue = self._exchange.venue
        before = venue.account.settings[symbol].leverage("buy")
        if not self._set_leverage(symbol, leverage, now_ms):
            return False
        armed.strikes()
        self._undo[(armed.number, symbol)] = lambda later_ms: self._set_leverage(symbol, before, later_ms)
        return True

    def _set_leverage(self, symbol: str, leverage: int, now_ms: int) -> bool:
        try:
            self._exchange.venue.set_leverage(symbol, leverage, now_ms)
        except OrderRefused as refused:
            return refused.code == "40814"  # it is that already
        return True

    def _close(self, armed: Armed, symbol: str, by: str, now_ms: int) -> bool:
        venue = self._exchange.venue
        if not venue.holds(symbol):
            return False
        if not armed.strikes():
            return True
        if by == "person":
            venue.close_position(symbol, now_ms)
        else:
            venue.force_close(symbol, now_ms)
        return True
