"""Trigger orders at the exchange that protect our positions, as far as we know: stops, preset stops, take-profits.

They act without us, and the exchange gives what they send an id of its own. What is known here says which executions
they may have caused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec

from tradebot.events import CancelStop, CommandOutcome, PlaceStop, Reconciled, StopState, StopUpdated
from tradebot.trading.trades import PROFIT_PLANS

POSITION_STOPS = frozenset({"pos_loss", "psl"})
PRESET_STOPS = frozenset({"loss_plan", "sl"})
STOP_ACTED = frozenset({"executing", "executed"})
STOP_GONE = frozenset({"cancelled", "canceled", "executed", "fail_execute"})


class TriggerOrders:
    """The stop of each position (``stops``, by symbol), what else may close it, and what was booked as theirs."""

    def __init__(self, stops: Iterable[StopState] = ()) -> None:
        self.stops: dict[str, StopState] = {stop.symbol: stop for stop in stops}
        self.presets: dict[str, set[str]] = {}
        """Order ids of preset stops seen live, by symbol."""
        self.profits: dict[str, set[str]] = {}
        """Order ids of take-profits seen live, by symbol."""
        self.claimed: dict[str, str] = {}
        """Executions booked as a stop's that no stop has reported yet, by symbol."""
        self._acted: set[str] = set()
        """Symbols whose stop reported itself before its execution came."""
        self._unlisted: set[str] = set()
        """Symbols held since before this run without a stop that we know of: the last run may have sent one, and it may
        act before the exchange's list says so."""
        self._ended_ms: dict[str, int] = {}
        """When a trigger order was told to be over, by order id: a list asked for earlier may still have it."""

    def resume(self, holding: Iterable[str]) -> None:
        """Go on where another run ended; ``holding``: symbols with a position."""
        # whether an unconfirmed stop was ever sent is not known: the exchange's list says, and it is placed again
        self.stops = {name: stop for name, stop in self.stops.items() if stop.confirmed}
        self._unlisted = set(holding) - self.stops.keys()

    def may_act(self, symbol: str) -> bool:
        """Whether one of ours may close (some of) a position without being told to."""
        return bool(
            symbol in self.stops or symbol in self._unlisted or self.presets.get(symbol) or self.profits.get(symbol)
        )

    def claim(self, symbol: str, trade_id: str) -> None:
        """An execution was booked as a stop's; one that has reported itself needs no other proof."""
        if symbol not in self._acted:
            self.claimed[symbol] = f"execution {trade_id} that no stop of ours reported"

    def on_closed(self, symbol: str, *, flat: bool) -> None:
        """A position was closed (``flat``) or turned round: what protected the old side protects nothing now."""
        if flat:
            self._acted.discard(symbol)
        self.stops.pop(symbol, None)
        self.presets.pop(symbol, None)
        self.profits.pop(symbol, None)

    def on_place(self, ts_ms: int, command: PlaceStop) -> None:
        """A stop is sent."""
        self.stops[command.symbol] = StopState(
            symbol=command.symbol,
            client_oid=command.client_oid,
            trigger_price=command.trigger_price,
            touched_ms=ts_ms,
        )

    def on_cancel(self, command: CancelStop) -> None:
        """A cancellation is sent."""
        self.presets.get(command.symbol, set()).discard(command.order_id)

    def on_outcome(self, event: CommandOutcome) -> None:
        """What became of a command; only a stop's counts."""
        stop = self.stops.get(event.symbol)
        if stop is None or stop.client_oid != event.client_oid or event.command != "place_stop":
            return
        if event.outcome == "rejected" and not stop.confirmed:
            self.stops[event.symbol] = msgspec.structs.replace(stop, refused=True)
        elif event.order_id:
            self.stops[event.symbol] = msgspec.structs.replace(stop, order_id=event.order_id)

    def on_update(self, ts_ms: int, event: StopUpdated, holds: Callable[[str], bool]) -> bool:
        """A report of a trigger order. ``holds`` says whether there is a position in a symbol.

        Returns whether the order has acted.
        """
        gone, acted = event.status in STOP_GONE, event.status in STOP_ACTED
        stop = self.stops.get(event.symbol)
        known = stop is not None and stop.client_oid == event.client_oid
        if gone or acted:
            self._ended_ms[event.order_id] = ts_ms
        if acted:
            self.claimed.pop(event.symbol, None)
            preset = event.order_id in self.presets.get(event.symbol, ())
            if known or preset or event.order_id in self.profits.get(event.symbol, ()):
                self._acted.add(event.symbol)
        if event.plan in PRESET_STOPS or event.plan in PROFIT_PLANS:
            plans = self.presets if event.plan in PRESET_STOPS else self.profits
            ids = plans.setdefault(event.symbol, set())
            (ids.discard if gone else ids.add)(event.order_id)
        elif stop is not None and known:
            if gone and event.status != "executed":
                del self.stops[event.symbol]
            elif acted:  # it is used up, however much of the position it closed
                self.stops[event.symbol] = msgspec.structs.replace(stop, confirmed=False)
            else:
                self.stops[event.symbol] = _live(event, ts_ms)
        elif event.plan in POSITION_STOPS and not gone and holds(event.symbol):
            self.stops[event.symbol] = _live(event, ts_ms)
        return acted

    def on_list(self, ts_ms: int, event: Reconciled, holds: Callable[[str], bool]) -> list[StopUpdated]:
        """The exchange's list is complete as of when it was asked for: an older stop that is not on it does not exist.

        Returns those of the list that have acted.
        """
        current = [stop for stop in event.stops if self._ended_ms.get(stop.order_id, -1) < event.asked_ms]
        listed = {(stop.symbol, stop.client_oid) for stop in current}
        self.stops = {
            name: stop
            for name, stop in self.stops.items()
            if (name, stop.client_oid) in listed or (stop.touched_ms >= event.asked_ms and not stop.refused)
        }
        self._unlisted.clear()
        self.presets.clear()
        self.profits.clear()
        acted = [stop for stop in current if self.on_update(ts_ms, stop, holds)]
        self._ended_ms = {order_id: ms for order_id, ms in self._ended_ms.items() if ms >= event.asked_ms}
        return acted


def _live(event: StopUpdated, ts_ms: int) -> StopState:
    return StopState(
        symbol=event.symbol,
        client_oid=event.client_oid,
        trigger_price=event.trigger_price,
        order_id=event.order_id,
        confirmed=True,
        touched_ms=ts_ms,
    )
