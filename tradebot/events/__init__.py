"""Every event the engine consumes and every command it emits.

The engine reads nothing else: settings, instruments, history, timers, model swaps, command outcomes and operator
acts all arrive here, in one order, with one time. All times are ms since the epoch (UTC); ``ts_exchange_ms`` is data
(venue clocks are not monotone across channels), the order and time that count are those of the envelope.
Prices and sizes that are money are Decimal; market data that feeds forecasts is float.
"""

from __future__ import annotations

from tradebot.events.account import (
    AccountHeard,
    AccountUpdated,
    AccountVerified,
    CommandOutcome,
    Filled,
    FundingPaid,
    OrderUpdated,
    PositionsReported,
    QuestionRefused,
    Reconciled,
    StopUpdated,
    Transferred,
)
from tradebot.events.base import (
    Cause,
    DifferenceKind,
    Mode,
    OperatorAction,
    OrderStatus,
    OrderType,
    OutcomeKind,
    Purpose,
    Record,
    TimeInForce,
    Tradability,
    Verdict,
)
from tradebot.events.commands import (
    Alert,
    CancelOrder,
    CancelStop,
    ClosePosition,
    Decision,
    Difference,
    ModelAnswer,
    PlaceOrder,
    PlaceStop,
    RequestForecast,
    RequestReconcile,
    RiskCheck,
    SetTimer,
    TradabilityChanged,
)
from tradebot.events.market import (
    BookSampled,
    BookTop,
    CandleClosed,
    CandleHistory,
    FeedCause,
    FeedStatus,
    FundingHistory,
    InstrumentUpdated,
    TickerUpdated,
    VenueBook,
)
from tradebot.events.models import model_name, split_model
from tradebot.events.run import (
    Booted,
    ClockMeasured,
    ForecastFailed,
    ForecastReady,
    Leaving,
    ModelSwapped,
    OperatorActed,
    Restored,
    RetrainEnded,
    StrategyStalled,
    TimerFired,
    UniverseChanged,
)
from tradebot.events.settings import REFERENCES, EngineConfig, ModelRef, RiskLimits
from tradebot.events.state import Dispute, DurableState, OrderState, PositionState, StopState, TrackState
from tradebot.events.trades import TradeBooked, TradeState

Event = (
    Booted
    | Restored
    | InstrumentUpdated
    | CandleHistory
    | FundingHistory
    | CandleClosed
    | BookSampled
    | VenueBook
    | BookTop
    | TickerUpdated
    | FeedStatus
    | ClockMeasured
    | AccountVerified
    | AccountUpdated
    | AccountHeard
    | QuestionRefused
    | PositionsReported
    | OrderUpdated
    | Filled
    | FundingPaid
    | Transferred
    | StopUpdated
    | CommandOutcome
    | ForecastReady
    | ForecastFailed
    | ModelSwapped
    | RetrainEnded
    | StrategyStalled
    | TimerFired
    | OperatorActed
    | UniverseChanged
    | Leaving
    | Reconciled
)

Command = (
    RequestForecast
    | PlaceOrder
    | CancelOrder
    | PlaceStop
    | CancelStop
    | ClosePosition
    | SetTimer
    | RequestReconcile
    | TradabilityChanged
    | Decision
    | Alert
    | Difference
    | TradeBooked
)

RECORDED_OUTPUTS = (
    PlaceOrder,
    CancelOrder,
    PlaceStop,
    CancelStop,
    ClosePosition,
    TradabilityChanged,
    Decision,
    Alert,
    Difference,
    TradeBooked,
)
"""Engine outputs that the journal keeps and replay compares; the others have no lasting effect of their own."""

__all__ = [
    "RECORDED_OUTPUTS",
    "REFERENCES",
    "AccountHeard",
    "AccountUpdated",
    "AccountVerified",
    "Alert",
    "BookSampled",
    "BookTop",
    "Booted",
    "CancelOrder",
    "CancelStop",
    "CandleClosed",
    "CandleHistory",
    "Cause",
    "ClockMeasured",
    "ClosePosition",
    "Command",
    "CommandOutcome",
    "Decision",
    "Difference",
    "DifferenceKind",
    "Dispute",
    "DurableState",
    "EngineConfig",
    "Event",
    "FeedCause",
    "FeedStatus",
    "Filled",
    "ForecastFailed",
    "ForecastReady",
    "FundingHistory",
    "FundingPaid",
    "InstrumentUpdated",
    "Leaving",
    "Mode",
    "ModelAnswer",
    "ModelRef",
    "ModelSwapped",
    "OperatorActed",
    "OperatorAction",
    "OrderState",
    "OrderStatus",
    "OrderType",
    "OrderUpdated",
    "OutcomeKind",
    "PlaceOrder",
    "PlaceStop",
    "PositionState",
    "PositionsReported",
    "Purpose",
    "QuestionRefused",
    "Reconciled",
    "Record",
    "RequestForecast",
    "RequestReconcile",
    "Restored",
    "RetrainEnded",
    "RiskCheck",
    "RiskLimits",
    "SetTimer",
    "StopState",
    "StopUpdated",
    "StrategyStalled",
    "TickerUpdated",
    "TimeInForce",
    "TimerFired",
    "TrackState",
    "Tradability",
    "TradabilityChanged",
    "TradeBooked",
    "TradeState",
    "Transferred",
    "UniverseChanged",
    "VenueBook",
    "Verdict",
    "model_name",
    "split_model",
]
