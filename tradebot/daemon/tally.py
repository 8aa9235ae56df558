"""Counting what happened, for status, the terminal view and the demo's closing line."""

from __future__ import annotations

from collections import deque

from tradebot.events import (
    CandleClosed,
    ClosePosition,
    Decision,
    Filled,
    ForecastReady,
    ModelSwapped,
    PlaceOrder,
    Record,
    Restored,
    RetrainEnded,
)

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
        self.recent: deque[Decision] = deque(maxlen=KEEP_DECISIONS)
        self.verdicts: list[RetrainEnded] = []
        self._served: set[str] = set()
        self._trades: set[str] = set()

    def __call__(self, seq: int, ts_ms: int, record: Record) -> None:
        match record:
            case CandleClosed():
                self.candles += 1
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
                self._trades.update(record.state.seen_trade_ids)
            case Filled():
                # every look at the whole account brings the latest executions once more
                self.fills += record.trade_id not in self._trades
                self._trades.add(record.trade_id)
            case RetrainEnded():
                self.retrains += 1
                self.promotions += record.verdict in ("promoted", "provisional")
                self.verdicts.append(record)
            case ModelSwapped():
                self.swaps += record.ref.symbol in self._served
                self._served.add(record.ref.symbol)
            case _:
                pass
