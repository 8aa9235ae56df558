"""How well the account is heard: whether it tells us what happens, and when it was last seen as a whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from tradebot.events import AccountHeard, Alert, QuestionRefused, Reconciled

if TYPE_CHECKING:
    from tradebot.trading.engine import Engine


class Hearing:
    """What entries ask of it: an account that cannot be heard may hold what nobody decided."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.stream: Literal["up", "down", "unchecked"] = "up"
        """The private stream; *unchecked* from when it is there again until the account was seen as a whole. A run
        that has none is never told of it."""
        self._channel_refused = ""
        """What of the stream was refused when it was last alarmed of."""
        self._back_ms = 0
        self._seen_ms: int | None = None
        self._refused: dict[str, str] = {}
        """The code of the refusal that was last alarmed of, by symbol."""

    @property
    def age_ms(self) -> int | None:
        """Since the account was last seen as a whole; None: not in this run."""
        return None if self._seen_ms is None else self._engine.now_ms - self._seen_ms

    def on_stream(self, event: AccountHeard) -> None:
        """The private stream came or went, or the exchange refuses to serve it: a person must know, and is told once
        until it comes."""
        self.stream = "unchecked" if event.up else "down"
        self._back_ms = self._engine.now_ms
        if event.up:
            self._channel_refused = ""
        elif event.refused and event.refused != self._channel_refused:
            self._channel_refused = event.refused
            why = f"no entries: the exchange refuses a private stream: {event.refused}"
            self._engine.emit(Alert(severity="critical", code="private_stream", message=why))

    def on_reconciled(self, event: Reconciled) -> None:
        """The whole view came."""
        self._seen_ms = self._engine.now_ms
        if self.stream == "unchecked" and event.asked_ms >= self._back_ms:
            self.stream = "up"

    def on_verified(self, name: str) -> None:
        """The exchange told the settings of a symbol: a later refusal is news."""
        self._refused.pop(name, None)

    def on_refused(self, event: QuestionRefused) -> None:
        """The exchange does not answer about a symbol or one of its orders: what is known of it stands, a person must
        know. Told once for each code."""
        if self._refused.get(event.symbol) == event.code:
            return
        self._refused[event.symbol] = event.code
        why = f"{event.symbol}: the exchange refuses to tell {event.about}: {event.message}"
        self._engine.emit(Alert(severity="warning", code="not_told", message=why, symbol=event.symbol))
