"""What a user writes: a strategy looks at forecasts and a view of the market, and says what it wants.

A strategy is a class in ``strategies/`` with typed parameters. It has no clock, no network and no secrets; it returns
intents and never talks to the exchange. The engine checks and executes what it asks for.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import Any, ClassVar, Literal

import msgspec

from tradebot.choices import choices
from tradebot.errors import ConfigError
from tradebot.events import BookSampled, EngineConfig, Filled, ForecastReady, ModelRef
from tradebot.features.catalogue import column
from tradebot.market.buffer import CandleWindow
from tradebot.market.candle import Candle
from tradebot.market.instrument import ZERO
from tradebot.trading.blame import raised_at

Action = Literal["enter_long", "enter_short", "exit", "hold"]
Hook = Literal["on_forecast", "on_candle", "on_book", "on_fill", "on_disconnect", "on_timer"]
LONGEST_LOOKBACK = 2_016
"""Closed candles that are there after any start."""
HOOKS: tuple[Hook, ...] = ("on_forecast", "on_candle", "on_book", "on_fill", "on_disconnect", "on_timer")


class Market(msgspec.Struct, frozen=True):
    """The market of one symbol now. Prices in USDT, sizes in base coin.

    ``book_age_ms`` counts from the book's own moment. ``funding_rate`` is a fraction of notional that longs pay to
    shorts at ``next_funding_ms`` (0: not told yet) and then every ``funding_hours``. ``book`` is the newest row of the
    1 s grid, best level first, None before the first. ``candle`` is the last closed candle, ``candles`` the last
    ``Strategy.lookback`` closed candles, oldest first (the arrays are true until the next close).
    """

    symbol: str
    bid: float
    ask: float
    mark: float
    book_age_ms: int
    bid_size: float = 0.0
    ask_size: float = 0.0
    tick: float = 0.0
    funding_rate: float = 0.0
    next_funding_ms: int = 0
    funding_hours: int = 8
    book: BookSampled | None = None
    candle: Candle | None = None
    candles: CandleWindow | None = None

    @property
    def mid(self) -> float:
        return (self.bid + self.ask) / 2

    @property
    def spread_bp(self) -> float:
        """Spread over mid, bp; 0 for a locked book."""
        return (self.ask - self.bid) / (self.ask + self.bid) * 2e4


class Holding(msgspec.Struct, frozen=True):
    """The position in one symbol. ``qty`` is signed base coin, ``entry_price`` its average (USDT).

    ``held_ms`` counts from the first execution; ``candles`` is how many candles have closed since then, the one that
    the position was opened in included. ``unrealised_bp`` is the profit at mark before fees, in bp of the entry price;
    ``best_bp`` and ``worst_bp`` are the most and the least it has been: of every mark since the first execution, of the
    close of the candle in which that fell, of the highs and lows of the candles that opened after it. All 0 when flat.
    """

    qty: Decimal = ZERO
    entry_price: Decimal = ZERO
    held_ms: int = 0
    candles: int = 0
    unrealised_bp: float = 0.0
    best_bp: float = 0.0
    worst_bp: float = 0.0

    @property
    def side(self) -> Literal["long", "short", "flat"]:
        return "long" if self.qty > 0 else "short" if self.qty < 0 else "flat"


class Account(msgspec.Struct, frozen=True):
    """The account, USDT: equity with unrealised profit at mark, what is free to open with, and the profit since 00:00
    UTC net of transfers. Zero while the exchange has not told."""

    equity: Decimal = ZERO
    available: Decimal = ZERO
    day_profit: Decimal = ZERO


class View(msgspec.Struct, frozen=True):
    """Everything a strategy may look at.

    ``interval_ms`` is the length of its candles. ``forecasts`` are those that hold: of the last closed candle, and of
    models of longer candles until theirs is over (``forecast.as_of_ms`` tells which close it speaks of); ``models`` are
    those that serve the symbol; both by model name in configured order. ``taker_cost_bp`` is the cost
    of entering and leaving with market orders (fees and spread), ``maker_cost_bp`` that with resting orders (fees).
    ``features`` is the last closed candle's row in catalogue order (see ``row``), None while features warm up.
    """

    now_ms: int
    interval_ms: int
    market: Market
    holding: Holding
    taker_cost_bp: float
    maker_cost_bp: float = 0.0
    account: Account = Account()
    forecasts: Mapping[str, ForecastReady] = MappingProxyType({})
    models: Mapping[str, ModelRef] = MappingProxyType({})
    features: tuple[float, ...] | None = None

    @property
    def model(self) -> ModelRef | None:
        """The first model that serves the symbol."""
        return next(iter(self.models.values()), None)

    def row(self, name: str) -> float | None:
        """Feature ``name`` of the last closed candle; None while features warm up and where it is undefined.

        Raises LookupError for a name that the catalogue does not have.
        """
        try:
            at = column(name)
        except KeyError:
            raise LookupError(f"there is no feature {name!r} (tradebot/features/catalogue.py lists them)") from None
        value = self.features[at] if self.features is not None else math.nan
        return None if math.isnan(value) else value


class Intent(msgspec.Struct, frozen=True):
    """What the strategy wants.

    ``size``: share (0, 1] of the configured order size; entries only, exits close all.
    ``order``: ``market``, or ``maker``: a post-only order ``offset_ticks`` behind the touch (best bid for a buy), for
    ``wait_ms``; what is left then goes by ``fallback``, as a market order or not at all. A maker order that would have
    taken falls back at once. An entry's fallback passes risk anew.
    ``stop_bp``: distance of the protective stop from the entry, where that is closer than risk's own distance; it
    never lies further away. ``take_profit_bp``: distance of a take-profit. Both stand on the exchange, so a dead
    daemon's position has them, and trigger on the mark price.
    ``timer``: (name, ms): ask ``on_timer`` after so long. The same name again moves it; a restart forgets it.
    """

    action: Action
    reason: str
    size: float = 1.0
    order: Literal["market", "maker"] = "market"
    offset_ticks: int = 0
    wait_ms: int = 5_000
    fallback: Literal["market", "cancel"] = "cancel"
    stop_bp: float | None = None
    take_profit_bp: float | None = None
    timer: tuple[str, int] | None = None


HOLD = Intent("hold", "nothing to do")


class Strategy:
    """Base of all strategies. Set ``Params`` to a frozen msgspec struct with defaults; define the hooks you need.

    Each hook is asked about one symbol and answers with an Intent. All but ``on_forecast`` may answer None: nothing is
    wanted (and nothing is recorded, except that every candle ends in a decision). A hook that a class does not define
    costs nothing. A strategy without ``on_forecast`` asks no model. One with it enters only while a forecast holds,
    whichever hook wants to.

    The instance may keep state of its own; it must depend on what it was shown and on nothing else, because replay
    runs it again on the same views and compares every decision. A restart begins with a fresh instance: what can be
    read from the view (``holding``, ``candles``) need not be remembered.
    """

    Params: ClassVar[type[msgspec.Struct]] = msgspec.Struct
    lookback: int = 0
    """How many closed candles ``view.market.candles`` shows; may be set in ``__init__`` from the parameters."""

    def __init__(self, params: Any) -> None:
        self.params = params

    def on_forecast(self, view: View, forecast: ForecastReady) -> Intent:
        """The close's forecasts are in, or their deadline passed: ``forecast`` is the first that came, in configured
        order; ``view.forecasts`` has them all, and those of earlier closes that hold."""
        raise NotImplementedError

    def on_candle(self, view: View) -> Intent | None:
        """A candle closed, and there is no forecast of it: none is asked for, as at closes between those of a model's
        longer candles, or it is late, failed, or features warm up."""

    def on_book(self, view: View) -> Intent | None:
        """A row of the 1 s book grid was sealed (rows equal to their predecessor are not shown)."""

    def on_fill(self, view: View, fill: Filled) -> Intent | None:
        """An execution of ours in this symbol was booked; the view shows the position after it."""

    def on_disconnect(self, view: View, reason: str) -> Intent | None:
        """The symbol's market data stopped being trustworthy, or the private stream was lost. Entries are blocked."""

    def on_timer(self, view: View, name: str) -> Intent | None:
        """A timer that an intent for this symbol asked for has run out."""


def hooks_of(strategy: type[Strategy]) -> frozenset[Hook]:
    """The hooks that a class defines itself."""
    return frozenset(name for name in HOOKS if getattr(strategy, name) is not getattr(Strategy, name))


def configure(strategy: type[Strategy], config: EngineConfig) -> Strategy:
    """An instance with the configured parameters, checked against its ``Params``. Raises ConfigError."""
    known = {f.encode_name for f in msgspec.structs.fields(strategy.Params)}
    unknown = sorted(set(config.strategy_params) - known)
    if unknown:
        raise ConfigError(
            f"strategy.params.{unknown[0]}: strategy {config.strategy!r} has no such parameter "
            f"(it knows {', '.join(sorted(known)) or 'none'})"
        )
    for name, value in _numbers("strategy.params", config.strategy_params):
        if not math.isfinite(value):
            raise ConfigError(f"{name}: must be a finite number, got {value} (strategy {config.strategy!r})")
    try:
        params = msgspec.convert(config.strategy_params, strategy.Params)
    except (msgspec.ValidationError, ValueError) as error:
        what = _located(str(error))
        name = what.removeprefix(".").partition(":")[0]
        if allowed := choices(strategy.Params, name):
            what = f".{name}: {config.strategy_params[name]!r} is none of {allowed}"
        raise ConfigError(f"strategy.params{what} (strategy {config.strategy!r})") from None
    try:
        made = strategy(params)
    except Exception as error:  # user code may raise anything
        why = f"{type(error).__name__}: {error} ({raised_at(error, strategy)})"
        raise ConfigError(f"strategy {config.strategy!r} cannot begin: {why}") from None
    if not (isinstance(made.lookback, int) and 0 <= made.lookback <= LONGEST_LOOKBACK):
        raise ConfigError(
            f"strategy {config.strategy!r}: lookback must be a whole number of candles from 0 to {LONGEST_LOOKBACK}, "
            f"is {made.lookback!r}"
        )
    return made


def _numbers(name: str, value: object) -> Iterator[tuple[str, float]]:
    """Every float in ``value`` with its dotted name."""
    if isinstance(value, float):
        yield name, value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _numbers(f"{name}.{key}", inner)
    elif isinstance(value, list | tuple):
        for at, inner in enumerate(value):
            yield from _numbers(f"{name}[{at}]", inner)


def _located(problem: str) -> str:
    """``what - at `$.path``` as ``.path: what``."""
    what, _, where = problem.rpartition(" - at `$")
    return f"{where.rstrip('`')}: {what}" if what else f": {problem}"
