"""Counting what happened, for status, the terminal view and the demo's closing line."""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from tradebot.events import (
    Booted,
    CandleClosed,
    ClosePosition,
    CommandOutcome,
    Decision,
    Difference,
    Filled,
    ForecastReady,
    ModelRef,
    ModelSwapped,
    OrderUpdated,
    PlaceOrder,
    Record,
    Restored,
    RetrainEnded,
    StopUpdated,
    TradeBooked,
)
from tradebot.market.instrument import ZERO
from tradebot.trading.state import KEEP_TRADE_IDS
from tradebot.trading.trades import TradeTally

KEEP_DECISIONS = 50
KEEP_SERVICES = 1_000


@dataclass(slots=True)
class Service:
    """A version that serves a symbol since ``since_ms``, and what the trades that it has opened since then came to:
    how many have ended, and what they earned (USDT after fees and funding, open ones included)."""

    ref: ModelRef
    since_ms: int
    trades: int = 0
    net: Decimal = ZERO


class Tally:
    """An observer of the sequencer. A *signal* is a decision whose strategy wanted to act; *blocked* is one that risk
    did not let through."""

    def __init__(self) -> None:
        self.candles = 0
        self.forecasts = 0
        self.late_forecasts = 0
        self.signals = 0
        self.blocked = 0
        self.orders = 0
        self.fills = 0
        self.retrains = 0
        self.promotions = 0
        self.swaps = 0
        self.trades = TradeTally()
        self.services: deque[Service] = deque(maxlen=KEEP_SERVICES)
        """Every version that began to serve, in that order; the newest of them where there were many."""
        self.outcomes: Counter[str] = Counter()
        """Answers to commands, by outcome."""
        self.resolved = 0
        """Commands of unknown outcome of which the exchange told later what became of them."""
        self.differences: Counter[str] = Counter()
        """Differences found on reconciling, by kind."""
        self._unknown: set[str] = set()
        self.recent: deque[Decision] = deque(maxlen=KEEP_DECISIONS)
        self.verdicts: list[RetrainEnded] = []
        self._served: set[str] = set()
        self._symbols: frozenset[str] = frozenset()
        self._trades: OrderedDict[str, None] = OrderedDict()

    def __call__(self, seq: int, ts_ms: int, record: Record) -> None:
        match record:
            case Booted():
                self._symbols = frozenset(record.config.symbols)
            case CandleClosed():
                self.candles += record.symbol in self._symbols
            case ForecastReady():
                self.forecasts += 1
            case Decision():
                self.late_forecasts += record.reason == "forecast late"
                if record.action != "hold":
                    self.signals += 1
                    self.blocked += record.verdict == "block"
                    self.recent.append(record)
            case PlaceOrder() | ClosePosition():
                self.orders += 1
            case Restored():
                self._remember(record.state.seen_trade_ids)
            case Filled():
                # every look at the whole account brings the latest executions once more
                self.fills += record.trade_id not in self._trades
                self._remember((record.trade_id,))
            case CommandOutcome():
                self.outcomes[record.outcome] += 1
                if record.outcome == "unknown":
                    self._unknown.add(record.client_oid)
                else:
                    self._resolve(record.client_oid)
            case OrderUpdated() | StopUpdated():
                self._resolve(record.client_oid)
            case TradeBooked():
                self.trades.add(record)
                self._credit(record)
            case Difference():
                self.differences[record.kind] += 1
            case RetrainEnded():
                self.retrains += 1
                self.promotions += record.verdict in ("promoted", "provisional")
                self.verdicts.append(record)
            case ModelSwapped():
                self.swaps += record.ref.symbol in self._served
                self._served.add(record.ref.symbol)
                self.services.append(Service(record.ref, ts_ms))
            case _:
                pass

    def service(self, symbol: str, model: str) -> Service | None:
        """Since when ``model`` of ``symbol`` serves in its present version."""
        return next((s for s in reversed(self.services) if (s.ref.symbol, s.ref.name) == (symbol, model)), None)

    def _credit(self, booked: TradeBooked) -> None:
        """To the version that opened the trade, as often as it served: to the time that the trade was opened in."""
        trade = booked.trade
        opener = (trade.symbol, trade.model, trade.version)
        for service in reversed(self.services):
            ref = service.ref
            if (ref.symbol, ref.name, ref.version) == opener and service.since_ms <= trade.since_ms:
                service.trades += bool(trade.closed_ms) and booked.kind in ("fill", "adopted")
                service.net += booked.realised + booked.fee + booked.funding
                return

    def _remember(self, trade_ids: Iterable[str]) -> None:
        """As many as the engine remembers: older executions are not reported again."""
        for trade_id in trade_ids:
            self._trades[trade_id] = None
            if len(self._trades) > KEEP_TRADE_IDS:
                self._trades.popitem(last=False)

    def _resolve(self, client_oid: str) -> None:
        if client_oid in self._unknown:
            self._unknown.discard(client_oid)
            self.resolved += 1
