"""Which broker takes the orders in which mode, and what comes with it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field

from tradebot.daemon.paper import PaperDesk
from tradebot.daemon.timeouts import Timeouts
from tradebot.events import EngineConfig, Event
from tradebot.exchange.bitget.listener import Listener
from tradebot.exchange.bitget.rest import BitgetRest
from tradebot.exchange.bitget.signing import Credentials as SigningKey
from tradebot.execution.broker import Broker
from tradebot.execution.exchange import ExchangeBroker, Resolutions
from tradebot.execution.latency import Latency, lognormal, uniform
from tradebot.settings import Settings
from tradebot.settings.sections import PaperSettings
from tradebot.shell.clock import Clock
from tradebot.shell.course import Timed
from tradebot.shell.sequencer import Observer


async def _nothing() -> None:
    return


@dataclass(frozen=True, slots=True)
class TradingSide:
    """A broker, the key its private streams log in with, and its parts: who listens to the market, who observes the
    sequencer, who acts by the clock, what asking after unknown outcomes came to, what is left to do at the end."""

    broker: Broker
    login: SigningKey | None = None
    listeners: tuple[Listener, ...] = ()
    observers: tuple[Observer, ...] = ()
    timed: tuple[Timed, ...] = ()
    resolutions: Resolutions = field(default_factory=Resolutions)
    close: Callable[[], Awaitable[None]] = _nothing


def latency_of(paper: PaperSettings) -> Latency:
    """How long commands take in mode paper."""
    if paper.latency_lognormal_ms is not None:
        return lognormal(*paper.latency_lognormal_ms)
    return uniform(*paper.latency_ms)


def trading_side(
    settings: Settings,
    config: EngineConfig,
    rest: BitgetRest,
    key: SigningKey | None,
    clock: Clock,
    put: Callable[[Event], None],
    timeouts: Timeouts,
    unsettled: Callable[[], Collection[str]],
) -> TradingSide:
    """The side of ``settings.mode``: the paper broker on the public streams, or the exchange itself.

    ``unsettled`` names the symbols whose settings must stay as they are.
    """
    if settings.mode != "paper":
        broker = ExchangeBroker(rest, config, clock.now_ms, unsettled, timeouts.pause)
        return TradingSide(broker, login=key, resolutions=broker.resolutions)
    paper = PaperDesk(
        settings.state_dir / "paper.json",
        config,
        clock.now_ms,
        put,
        cash=settings.paper.cash,
        latency=latency_of(settings.paper),
        lockstep=settings.exchange.clock == "paced",
    )
    return TradingSide(paper, listeners=(paper,), observers=(paper,), timed=(paper,), close=paper.close)
