"""Asking the strategy, without letting it harm anything but itself.

A hook that raises, answers nonsense or takes too long pauses the strategy: it is not asked any more, entries stop, an
alert names file and line, and everything else goes on; positions keep their stops. The operator's ``resume`` begins
anew with a fresh instance, as a restart does.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from numbers import Integral, Real
from typing import TYPE_CHECKING

import msgspec

from tradebot.errors import ConfigError
from tradebot.events import StrategyStalled
from tradebot.trading.blame import defined_at, raised_at
from tradebot.trading.strategy import Hook, Intent, Strategy, View, configure, hooks_of

if TYPE_CHECKING:
    from tradebot.trading.engine import Engine

ACTIONS = frozenset({"enter_long", "enter_short", "exit", "hold"})
ORDERS = frozenset({"market", "maker"})
FALLBACKS = frozenset({"market", "cancel"})
LONGEST_MS = 30 * 86_400_000
"""Longest time that an intent may name."""
MOST_TICKS = 10_000
LONGEST_REASON = 1_000
LONGEST_NAME = 64
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
"""Part of the text of an object that is another one in every process."""

Watch = Callable[[Hook, str, Callable[[], object]], object]
"""Carries out the call of a hook for a symbol. The shell's times it, and may raise Stuck."""


class Stuck(Exception):
    """A hook did not return and was interrupted."""


class Nonsense(ValueError):
    """An answer that cannot be carried out. The strategy is paused."""


def unwatched(hook: Hook, symbol: str, call: Callable[[], object]) -> object:
    """Carry out ``call``."""
    return call()


class Hooks:
    """One configured strategy, and whether it may still be asked."""

    def __init__(self, engine: Engine, cls: type[Strategy]) -> None:
        self._engine = engine
        self._class = cls
        self._defined = hooks_of(cls)
        self.strategy: Strategy | None = None
        self.watch: Watch = unwatched

    @property
    def asks_models(self) -> bool:
        """Whether the strategy acts on forecasts."""
        return "on_forecast" in self._defined

    def begin(self) -> int:
        """A fresh instance with the configured parameters. Returns how many candles it wants to see. Raises
        ConfigError."""
        self.strategy = configure(self._class, self._engine.config)
        return self.strategy.lookback

    def on_resume(self) -> None:
        """The operator wants to trade again: a paused strategy begins anew."""
        if self.strategy is None:
            try:
                self.begin()
            except ConfigError as error:
                self._pause(str(error))

    def defines(self, hook: Hook) -> bool:
        """Whether asking ``hook`` can come to anything."""
        return hook in self._defined and self.strategy is not None

    def ask(self, hook: Hook, view: View, *about: object) -> Intent | None:
        """What the strategy wants, None when nothing. A failing one is paused, and the reason to do nothing says so."""
        if self.strategy is None:
            return Intent("hold", "strategy disabled")
        asked = getattr(self.strategy, hook)
        try:
            return _validated(hook, self.watch(hook, view.market.symbol, lambda: asked(view, *about)))
        except Stuck:
            why = f"{hook} did not return ({defined_at(self._class, hook)})"
        except Nonsense as error:
            why = f"{hook} {error} ({defined_at(self._class, hook)})"
        except KeyboardInterrupt:  # a person's
            raise
        except BaseException as error:  # user code may raise anything
            why = f"{hook} raised {type(error).__name__}: {_text(error)} ({raised_at(error, self._class)})"
        return Intent("hold", self._pause(why))

    def on_stalled(self, event: StrategyStalled) -> None:
        """The shell measured that a hook blocked everything else for too long."""
        if self.strategy is not None:
            where = defined_at(self._class, event.hook)
            self._pause(f"{event.hook} took {event.took_ms} ms, allowed are {event.limit_ms} ({where})")

    def _pause(self, what: str) -> str:
        self.strategy = None
        why = _printable(f"strategy {self._engine.config.strategy}: {_ADDRESS.sub('', what)}"[:LONGEST_REASON])
        self._engine.restrict("reducing", why, code="strategy_failed")
        return why


def _validated(hook: Hook, intent: object) -> Intent | None:
    """The strategy's answer. Raises Nonsense that says what is wrong with it."""
    if intent is None and hook != "on_forecast":
        return None
    if not isinstance(intent, Intent):
        raise Nonsense(f"returned {_short(intent)}, not an Intent")
    _one_of("action", intent.action, ACTIONS)
    _one_of("order", intent.order, ORDERS)
    _one_of("fallback", intent.fallback, FALLBACKS)
    if not isinstance(intent.reason, str) or len(intent.reason) > LONGEST_REASON or not intent.reason.isprintable():
        raise Nonsense(f"gives as reason {_short(intent.reason)}; it must be one line of text, not too long")
    if not (_is_number(intent.size) and 0 < intent.size <= 1):
        raise Nonsense(f"wants size {_short(intent.size)}; it must lie in (0, 1]")
    if not (_is_whole(intent.offset_ticks) and 0 <= intent.offset_ticks <= MOST_TICKS):
        raise Nonsense(f"wants offset_ticks {_short(intent.offset_ticks)}; it must lie in [0, {MOST_TICKS}]")
    if not (_is_whole(intent.wait_ms) and 0 < intent.wait_ms <= LONGEST_MS):
        raise Nonsense(f"wants wait_ms {_short(intent.wait_ms)}; it must lie in (0, {LONGEST_MS}]")
    for name in ("stop_bp", "take_profit_bp"):
        distance = getattr(intent, name)
        if distance is not None and not (_is_number(distance) and 0 < distance < 10_000):
            raise Nonsense(f"wants {name} {_short(distance)}; it must lie in (0, 10000)")
    if intent.timer is not None and not _is_timer(intent.timer):
        raise Nonsense(f"wants timer {_short(intent.timer)}; it must be (name, ms) with 0 < ms <= {LONGEST_MS}")
    return msgspec.structs.replace(  # numpy's numbers print otherwise than Python's
        intent,
        size=float(intent.size),
        offset_ticks=int(intent.offset_ticks),
        wait_ms=int(intent.wait_ms),
        stop_bp=None if intent.stop_bp is None else float(intent.stop_bp),
        take_profit_bp=None if intent.take_profit_bp is None else float(intent.take_profit_bp),
    )


def _one_of(name: str, value: object, known: frozenset[str]) -> None:
    if not isinstance(value, str) or value not in known:
        raise Nonsense(f"wants {name} {_short(value)}; it must be one of {', '.join(sorted(known))}")


def _is_timer(timer: object) -> bool:
    if not (isinstance(timer, tuple) and len(timer) == 2):
        return False
    name, in_ms = timer
    named = isinstance(name, str) and 0 < len(name) <= LONGEST_NAME and name.isprintable()
    return named and _is_whole(in_ms) and 0 < in_ms <= LONGEST_MS


def _is_whole(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def _text(error: BaseException) -> str:
    """What an error says; one of the user's own may fail at that, too."""
    try:
        return str(error)
    except Exception as failure:
        return f"(its text raised {type(failure).__name__})"


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text)
