"""The protective stop of every position.

Life of a stop (architecture section 8)::

    entry sent with a preset stop
      └─ first execution ─> position stop placed ─> confirmed live ─> preset cancelled
                                   └─ not confirmed in time, or refused ─> reduce-only close
                                             └─ still open afterwards ─> halt and alert

A push can be lost: a third of the way to each verdict the exchange's whole view is asked for.
"""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import TYPE_CHECKING

from tradebot.events import (
    Alert,
    CancelStop,
    ClosePosition,
    CommandOutcome,
    PlaceStop,
    RequestReconcile,
    SetTimer,
    StopState,
    StopUpdated,
)
from tradebot.market.instrument import Instrument, Side, to_multiple
from tradebot.trading.risk import stop_distance
from tradebot.trading.stops import POSITION_STOPS, STOP_ACTED, STOP_GONE

if TYPE_CHECKING:
    from tradebot.trading.engine import Engine

NO_POSITION = frozenset({"43023", "40891", "43043"})
"""The exchange's codes when it is to protect a position that it does not have (protocol section 9)."""

STOP_SLACK = Decimal("0.002")
"""How much further than ours (fraction of price) a stop may stand unremarked: entries fill at several prices."""


class Protection:
    """Places, confirms and, when it must, replaces by a close, the stop of each position."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._verdicts: set[tuple[str, str]] = set()
        """Verdicts (kind, symbol) that are being waited for: another try does not put them off."""

    def stop_price(self, instrument: Instrument, entry: Decimal, side: Side, closer: Decimal | None = None) -> Decimal:
        """Trigger price for an entry on ``side`` at ``entry``, on the tick, rounded towards the entry.

        ``closer``: the distance that the strategy asked for, a fraction of price; it counts where it is closer than
        risk's own, which is never exceeded.
        """
        config, tick = self._engine.config, instrument.tick
        distance = stop_distance(config.risk.stop_distance, config.leverage, instrument.maintenance_rate)
        if closer is not None:
            distance = min(distance, closer)
        if side == "buy":
            price = to_multiple(entry * (1 - distance), tick, ROUND_CEILING)
            return price if price < entry else to_multiple(entry, tick, ROUND_CEILING) - tick
        price = to_multiple(entry * (1 + distance), tick, ROUND_FLOOR)
        return price if price > entry else to_multiple(entry, tick, ROUND_FLOOR) + tick

    @staticmethod
    def profit_price(instrument: Instrument, entry: Decimal, side: Side, distance: Decimal) -> Decimal:
        """Trigger price of a take-profit ``distance`` (fraction of price) from ``entry``, on the tick, rounded away
        from the entry."""
        if side == "buy":
            return to_multiple(entry * (1 + distance), instrument.tick, ROUND_CEILING)
        return max(to_multiple(entry * (1 - distance), instrument.tick, ROUND_FLOOR), instrument.tick)

    def on_position(self, name: str) -> None:
        """A position was opened, changed, closed or found: make sure that it is protected, or clean up."""
        engine, state = self._engine, self._engine.state
        position = state.portfolio.position(name)
        if not position.qty:
            self._settled(name)
            return
        symbol = engine.symbols.get(name)
        instrument = symbol.instrument if symbol is not None else None
        stop = state.stops.get(name)
        if stop is not None and not stop.refused:
            if not stop.confirmed:
                self._wait("stop", name)
            return
        if instrument is None:
            return
        if engine.discrepancies.nothing_there(name):
            return
        side: Side = "buy" if position.qty > 0 else "sell"
        engine.emit(
            PlaceStop(
                client_oid=engine.oid("s"),
                symbol=name,
                position_side="long" if side == "buy" else "short",
                trigger_price=self.stop_price(instrument, position.entry_price, side, state.stop_distances.get(name)),
            )
        )
        self._wait("stop", name)

    def on_stop(self, event: StopUpdated) -> None:
        """A trigger order changed: cancel the preset once the position's own stop stands."""
        engine, state = self._engine, self._engine.state
        if not state.portfolio.position(event.symbol).qty:
            ours = state.is_ours(event.client_oid) and not state.reported_qty(event.symbol)
            if ours and event.plan in POSITION_STOPS and event.status not in STOP_GONE:
                engine.emit(CancelStop(client_oid=event.client_oid, symbol=event.symbol, order_id=event.order_id))
            return
        stop = state.stops.get(event.symbol)
        if stop is None:
            if event.plan in POSITION_STOPS and event.status in STOP_GONE and event.status != "executed":
                self.on_position(event.symbol)  # someone removed it: put it back
            return
        if not stop.confirmed:
            if event.status in STOP_ACTED and event.client_oid == stop.client_oid:
                self._wait("stop", event.symbol)  # what it leaves open is protected by nothing
            return
        self._check_distance(event.symbol, stop)
        self._settled(event.symbol)
        self.cancel_presets(event.symbol)

    def _check_distance(self, name: str, stop: StopState) -> None:
        """Somebody may have moved the stop: further away than ours would lie, it protects less than it should."""
        symbol, position = self._engine.symbols.get(name), self._engine.state.portfolio.position(name)
        if symbol is None or symbol.instrument is None:
            return
        side: Side = "buy" if position.qty > 0 else "sell"
        closer = self._engine.state.stop_distances.get(name)
        ours = self.stop_price(symbol.instrument, position.entry_price, side, closer)
        further = ours - stop.trigger_price if position.qty > 0 else stop.trigger_price - ours
        if further > ours * STOP_SLACK:
            why = f"the stop stands at {stop.trigger_price}, ours would stand at {ours}: move it, or close the position"
            self._engine.emit(Alert(severity="critical", code="stop_moved", message=why, symbol=name))

    def cancel_presets(self, name: str) -> None:
        """Cancel the presets of a position whose own stop stands."""
        state = self._engine.state
        if self._confirmed(name):
            for order_id in sorted(state.triggers.presets.get(name, ())):
                self._engine.emit(CancelStop(client_oid="", symbol=name, order_id=order_id))

    def on_rejected(self, event: CommandOutcome) -> None:
        """The exchange refused a stop: the position must not stay unprotected, if there is one."""
        stop = self._engine.state.stops.get(event.symbol)
        if event.command == "place_stop" and stop is not None and stop.client_oid == event.client_oid and stop.refused:
            if event.code in NO_POSITION:
                self._engine.discrepancies.on_refused(event.symbol)
            else:
                self._close(event.symbol, f"stop refused: {event.code} {event.message}")

    def on_timer(self, kind: str, name: str) -> None:
        engine, state = self._engine, self._engine.state
        self._verdicts.discard((kind, name))
        if not state.portfolio.position(name).qty or engine.discrepancies.nothing_there(name):
            return
        if kind == "stop":
            if not self._confirmed(name):
                self._close(name, f"stop not confirmed within {engine.config.risk.stop_confirm_ms} ms")
        elif self._confirmed(name):
            return
        elif kind == "ask":
            engine.emit(RequestReconcile(reason=f"the stop or the close of {name} is not confirmed"))
        elif kind == "close":
            why = f"position {name} is open without a confirmed stop and could not be closed"
            engine.restrict("halted", why, code="unprotected")
            engine.emit(ClosePosition(client_oid=engine.oid("f"), symbol=name, reason=why))

    def _close(self, name: str, reason: str) -> None:
        engine = self._engine
        if not engine.state.portfolio.position(name).qty:
            return
        engine.emit(Alert(severity="critical", code="unprotected", message=reason, symbol=name))
        engine.close_position(name, "close", engine.oid("c"), "")
        self._wait("close", name)

    def _settled(self, name: str) -> None:
        """Nothing is waited for any more: it is protected, or there is nothing to protect."""
        for kind in ("stop", "close", "ask"):
            self._verdicts.discard((kind, name))
            self._engine.emit(SetTimer(name=f"{kind}:{name}", due_ms=0))

    def _wait(self, kind: str, name: str) -> None:
        """Until the verdict ``kind``, and until the question on the way to it."""
        if (kind, name) in self._verdicts:
            return
        self._verdicts.add((kind, name))
        patience_ms = self._engine.config.risk.stop_confirm_ms
        self._engine.emit(SetTimer(name=f"{kind}:{name}", due_ms=self._engine.now_ms + patience_ms))
        self._engine.emit(SetTimer(name=f"ask:{name}", due_ms=self._engine.now_ms + patience_ms // 3))

    def _confirmed(self, name: str) -> bool:
        stop = self._engine.state.stops.get(name)
        return stop is not None and stop.confirmed
