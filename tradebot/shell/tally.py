"""Counting what happened, for status, the terminal view and the demo's closing line."""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from collections.abc import Iterable

from tradebot.events import (
    Booted,
    CandleClosed,
    ClosePosition,
    CommandOutcome,
    Decision,
    Difference,
    Filled,
    ForecastReady,
    ModelSwapped,
    OrderUpdated,
    PlaceOrder,
    Record,
    Restored,
    RetrainEnded,
    StopUpdated,
    TradeBooked,
)
from tradebot.trading.state import KEEP_TRADE_IDS
from tradebot.trading.trades import TradeTally

KEEP_DECISIONS = 50


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
            case Difference():
                self.differences[record.kind] += 1
            case RetrainEnded():
                self.retrains += 1
                self.promotions += record.verdict in ("promoted", "provisional")
                self.verdicts.append(record)
            case ModelSwapped():
                self.swaps += record.ref.symbol in self._served
                self._served.add(record.ref.symbol)
            case _:
                pass

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
