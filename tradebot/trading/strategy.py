"""What a user writes: a strategy looks at a forecast and a view of the market, and says what it wants.

A strategy is a class in ``strategies/`` with typed parameters. It has no clock, no network and no secrets; it returns
intents and never talks to the exchange. The engine checks and executes what it asks for.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from decimal import Decimal
from typing import Any, ClassVar, Literal

import msgspec

from tradebot.errors import ConfigError
from tradebot.events import EngineConfig, ForecastReady, ModelRef

Action = Literal["enter_long", "enter_short", "exit", "hold"]


class Market(msgspec.Struct, frozen=True):
    """The market of one symbol now. Prices in USDT; ``book_age_ms`` counts from the book's own moment."""

    symbol: str
    bid: float
    ask: float
    mark: float
    book_age_ms: int

    @property
    def spread_bp(self) -> float:
        """Spread over mid, bp; 0 for a locked book."""
        return (self.ask - self.bid) / (self.ask + self.bid) * 2e4


class Holding(msgspec.Struct, frozen=True):
    """The position in one symbol. ``qty`` is signed base coin.

    ``held_ms`` counts from the first execution; ``candles`` is how many candles have closed since then, the one that
    the position was opened in included.
    """

    qty: Decimal
    entry_price: Decimal
    held_ms: int
    candles: int

    @property
    def side(self) -> Literal["long", "short", "flat"]:
        return "long" if self.qty > 0 else "short" if self.qty < 0 else "flat"


class View(msgspec.Struct, frozen=True):
    """Everything a strategy may look at.

    ``interval_ms`` is the length of its candles; ``taker_cost_bp`` the cost of entering and leaving with market orders.
    """

    now_ms: int
    interval_ms: int
    market: Market
    holding: Holding
    equity: Decimal
    model: ModelRef | None
    taker_cost_bp: float


class Intent(msgspec.Struct, frozen=True):
    """What the strategy wants. ``size`` is the share (0, 1] of the configured order size, for entries."""

    action: Action
    reason: str
    size: float = 1.0


HOLD = Intent("hold", "nothing to do")


class Strategy(ABC):
    """Base of all strategies. Set ``Params`` to a frozen msgspec struct with defaults; override what you need.

    The instance may keep state of its own; it must depend on what it was shown and on nothing else, because replay
    runs it again on the same views and compares every decision.
    """

    Params: ClassVar[type[msgspec.Struct]] = msgspec.Struct

    def __init__(self, params: Any) -> None:
        self.params = params

    @abstractmethod
    def on_forecast(self, view: View, forecast: ForecastReady) -> Intent:
        """Called with each forecast in time. Must return an Intent."""

    def on_candle(self, view: View) -> Intent:
        """Called at each closed candle that brings no forecast (no model, late, or failed)."""
        return HOLD


def configure(strategy: type[Strategy], config: EngineConfig) -> Strategy:
    """An instance with the configured parameters, checked against its ``Params``. Raises ConfigError."""
    known = {f.name for f in msgspec.structs.fields(strategy.Params)}
    unknown = sorted(set(config.strategy_params) - known)
    if unknown:
        raise ConfigError(
            f"strategy.params.{unknown[0]}: strategy {config.strategy!r} has no such parameter "
            f"(it knows {', '.join(sorted(known)) or 'none'})"
        )
    try:
        params = msgspec.convert(config.strategy_params, strategy.Params)
    except (msgspec.ValidationError, ValueError) as error:
        raise ConfigError(f"strategy.params: {error} (strategy {config.strategy!r})") from None
    return strategy(params)
