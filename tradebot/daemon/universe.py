"""Asking the exchange which symbols to trade: at the start, and again at every refresh."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import structlog

from tradebot.daemon.lastrun import read_last_run
from tradebot.daemon.market import MarketSide
from tradebot.errors import ConfigError, ExchangeError
from tradebot.events import Booted, Event, UniverseChanged
from tradebot.exchange.bitget.rest import BitgetRest
from tradebot.journal import OpenState
from tradebot.market.candle import DAY_MS
from tradebot.settings import Settings
from tradebot.settings.sections import UniverseSettings
from tradebot.shell.clock import Clock
from tradebot.trading.state import recover
from tradebot.trading.universe import Rules, chosen, eligible

log = structlog.get_logger(__name__)

AFTER_MS = 60_000
"""How long after its moment a refresh is made: the candle that closes there is decided on first."""


def rules_of(settings: UniverseSettings) -> Rules | None:
    """The rules, or None where symbols are listed."""
    if settings.top is None:
        return None
    return Rules(
        top=settings.top,
        max_spread_bp=settings.max_spread_bp,
        min_volume=settings.min_volume,
        deny=frozenset(settings.deny or ()),
    )


async def choose(
    rest: BitgetRest, rules: Rules, *, now_ms: int, min_age_ms: int, current: Iterable[str] = ()
) -> tuple[str, ...]:
    """The symbols to trade at ``now_ms``, best first, of which ``current`` are traded already.

    A contract that had no candle ``min_age_ms`` ago is too young. Raises ExchangeError.
    """
    current = set(current)
    ranked = eligible(await rest.contracts(), await rest.day_tickers(), rules).ranked
    old: set[str] = set(current)
    while True:
        wanted = chosen(ranked, rules.top, current)
        unknown = [symbol for symbol in wanted if symbol not in old]
        if not unknown:
            return wanted
        for symbol in unknown:
            then = (now_ms - min_age_ms) // DAY_MS * DAY_MS
            if await rest.candles(symbol, "1d", then, then + DAY_MS):
                old.add(symbol)
            else:
                ranked = tuple(other for other in ranked if other != symbol)


async def with_universe(settings: Settings, opened: OpenState) -> tuple[Settings, tuple[str, ...] | None]:
    """``settings`` with the symbols that a run is to listen to, and which of them are to be traded; None: as listed.

    Listened to is what was chosen and what the last run left open. Where the exchange cannot be asked, the last run's
    symbols are taken, but for those that are denied. Where no contract passes, what is held or open is watched all the
    same. Raises ExchangeError at a first start, and ConfigError where there is neither.
    """
    rules = rules_of(settings.universe)
    if rules is None:
        return settings, None
    found = read_last_run(opened)
    before = next((r.config.symbols for _, r in reversed(found) if isinstance(r, Booted)), ())
    state = recover(found, cooldown_ms=settings.risk.cooldown.ms)
    open_ = {p.symbol for p in state.portfolio.open_positions()} | {o.symbol for o in state.orders.open()}
    rest = BitgetRest(
        settings.exchange.rest_url,
        demo=settings.mode == "exchange-demo",
        limited=None if settings.exchange.rate_limited else False,
    )
    try:
        async with rest:
            now_ms = await rest.server_time()
            min_age_ms = settings.universe.min_age.ms
            traded = await choose(rest, rules, now_ms=now_ms, min_age_ms=min_age_ms, current=before)
    except ExchangeError as error:
        if not before:
            raise
        log.warning("universe_not_chosen", reason=str(error), symbols=list(before))
        traded = tuple(symbol for symbol in before if symbol not in rules.deny)
    if not traded and open_:
        log.warning("universe_empty", reason="no contract passes the rules", held=sorted(open_))
    elif not traded:
        raise ConfigError(f"universe: no contract of {settings.exchange.rest_url} passes its rules")
    log.info("universe", traded=list(traded), held=sorted(open_ - set(traded)))
    return settings.model_copy(update={"symbols": (*traded, *sorted(open_ - set(traded)))}), traded


def watch_of(
    settings: UniverseSettings,
    traded: tuple[str, ...] | None,
    watched: tuple[str, ...],
    market: MarketSide,
    put: Callable[[Event], None],
    on_new: Callable[[], None],
) -> UniverseWatch | None:
    """What keeps ``traded`` up to date, or None where symbols are listed."""
    rules = rules_of(settings)
    if rules is None or traded is None:
        return None
    return UniverseWatch(
        market.rest,
        rules,
        market.clock,
        put,
        on_new,
        every_ms=settings.refresh.ms,
        min_age_ms=settings.min_age.ms,
        watched=watched,
        traded=traded,
    )


class UniverseWatch:
    """A chore: chooses again at every multiple of ``every_ms``.

    Symbols that leave get no more entries at once, and are watched as long as the run goes on. One that the run does
    not listen to yet needs a new run: ``on_new`` is called.
    """

    def __init__(
        self,
        rest: BitgetRest,
        rules: Rules,
        clock: Clock,
        put: Callable[[Event], None],
        on_new: Callable[[], None],
        *,
        every_ms: int,
        min_age_ms: int,
        watched: tuple[str, ...],
        traded: tuple[str, ...],
    ) -> None:
        self._rest = rest
        self._rules = rules
        self._clock = clock
        self._put = put
        self._on_new = on_new
        self._every_ms = every_ms
        self._min_age_ms = min_age_ms
        self._watched = frozenset(watched)
        self.traded = traded
        self._next_ms: int | None = None

    def start(self) -> None:
        """Begin to count; tell the engine when it watches more than it trades."""
        self._next_ms = self._after(self._clock.now_ms())
        if set(self.traded) != self._watched:
            left = ", ".join(sorted(self._watched - set(self.traded)))
            self._put(UniverseChanged(symbols=self.traded, reason=f"left, but held: {left}"))

    def next_due_ms(self) -> int | None:
        return self._next_ms

    async def tick(self) -> None:
        now = self._clock.now_ms()
        if self._next_ms is None or now < self._next_ms:
            return
        wanted = await choose(self._rest, self._rules, now_ms=now, min_age_ms=self._min_age_ms, current=self.traded)
        self._next_ms = self._after(now)
        if set(wanted) == set(self.traded):
            return
        came, left = sorted(set(wanted) - set(self.traded)), sorted(set(self.traded) - set(wanted))
        log.info("universe", came=came, left=left)
        self.traded = tuple(symbol for symbol in wanted if symbol in self._watched)
        reason = "; ".join(f"{word} {', '.join(names)}" for word, names in (("came", came), ("left", left)) if names)
        self._put(UniverseChanged(symbols=self.traded, reason=reason))
        if not self._watched.issuperset(wanted):
            self._on_new()

    def _after(self, now_ms: int) -> int:
        moment = (now_ms - AFTER_MS) // self._every_ms * self._every_ms + self._every_ms
        return moment + AFTER_MS
