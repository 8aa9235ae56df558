"""Every event the engine consumes and every command it emits.

The engine reads nothing else: settings, instruments, history, timers, model swaps, command outcomes and operator
acts all arrive here, in one order, with one time. All times are ms since the epoch (UTC); ``ts_exchange_ms`` is data
(venue clocks are not monotone across channels), the order and time that count are those of the envelope.
Prices and sizes that are money are Decimal; market data that feeds forecasts is float.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

import msgspec

from tradebot.market.candle import Candle
from tradebot.market.instrument import Instrument, Side

Mode = Literal["demo", "paper", "exchange-demo", "live"]
OrderType = Literal["market", "limit"]
TimeInForce = Literal["gtc", "ioc", "fok", "post_only"]
OrderStatus = Literal["live", "partially_filled", "filled", "canceled"]
OutcomeKind = Literal["accepted", "rejected", "unknown"]
Purpose = Literal["entry", "exit", "stop", "close"]
Verdict = Literal["pass", "shrink", "block"]
OperatorAction = Literal["halt", "pause", "resume", "flatten", "close", "adopt", "ignore"]
Tradability = Literal["active", "paused", "halted"]


class Record(msgspec.Struct, frozen=True, kw_only=True, tag_field="type"):
    """Anything that travels through the journal."""


# --- settings and durable state -------------------------------------------------------------------------------------


class RiskLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Limits every order must respect. Notional in USDT at mark; fractions are of equity; durations in ms."""

    max_position_notional: Decimal = Decimal(2_000)
    max_gross_notional: Decimal = Decimal(5_000)
    max_leverage: Decimal = Decimal(3)
    max_daily_loss: Decimal = Decimal("0.03")
    max_book_age_ms: int = 10_000
    max_candle_age_ms: int = 30_000
    max_clock_offset_ms: int = 1_000
    cooldown_ms: int = 600_000
    stop_distance: Decimal = Decimal("0.02")
    stop_confirm_ms: int = 5_000
    capital: Decimal | None = None


class EngineConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What the engine needs of the settings. ``strategy_params`` are validated by the strategy itself."""

    mode: Mode
    symbols: tuple[str, ...]
    strategy: str
    strategy_params: dict[str, float | int | str | bool | None] = {}
    interval: str = "5m"
    leverage: int = 2
    margin_mode: Literal["isolated", "crossed"] = "isolated"
    order_notional: Decimal = Decimal(500)
    forecast_deadline_ms: int = 2_000
    shard: int = 0
    risk: RiskLimits = RiskLimits()


class ModelRef(msgspec.Struct, frozen=True, kw_only=True):
    """The exact model that serves a symbol. ``horizon_ms`` is the forecast's reach from the candle's close.

    ``entry_bp`` is the |expected return| (bp) above which acting was best on the validation slice, or None.
    ``provisional``: it has not beaten the baseline net of costs and may serve in demo and paper only.
    """

    symbol: str
    name: str
    version: str
    sha256: str
    schema_hash: str
    horizon_ms: int
    provisional: bool = False
    entry_bp: float | None = None


class PositionState(msgspec.Struct, frozen=True, kw_only=True):
    """A position as some party sees it. ``qty`` is signed base coin (long > 0), ``entry_price`` its average."""

    symbol: str
    qty: Decimal
    entry_price: Decimal
    liquidation_price: Decimal | None = None
    opened_ms: int = 0


class OrderState(msgspec.Struct, frozen=True, kw_only=True):
    """An order of ours. ``intended`` ones may or may not have reached the exchange."""

    client_oid: str
    symbol: str
    side: Side
    order_type: OrderType
    qty: Decimal
    purpose: Purpose
    price: Decimal | None = None
    reduce_only: bool = False
    order_id: str = ""
    status: Literal["intended", "live", "partially_filled", "filled", "canceled", "rejected", "unknown"] = "intended"
    filled_qty: Decimal = Decimal(0)
    decision_id: str = ""
    created_ms: int = 0


class StopState(msgspec.Struct, frozen=True, kw_only=True):
    """The exchange-side stop that protects a position. ``confirmed``: seen live on the exchange.

    ``touched_ms`` is when we last placed it or heard of it.
    """

    symbol: str
    client_oid: str
    trigger_price: Decimal
    order_id: str = ""
    confirmed: bool = False
    touched_ms: int = 0


class DurableState(msgspec.Struct, frozen=True, kw_only=True):
    """What must survive a crash: carried from the last run's journal into the first event of the next."""

    positions: tuple[PositionState, ...] = ()
    orders: tuple[OrderState, ...] = ()
    stops: tuple[StopState, ...] = ()
    tradability: Tradability = "active"
    halt_reason: str = ""
    paused_symbols: tuple[str, ...] = ()
    ignored_symbols: tuple[str, ...] = ()
    foreign: dict[str, str] = {}
    closing: tuple[str, ...] = ()
    seen_trade_ids: tuple[str, ...] = ()
    cooldown_until: dict[str, int] = {}
    day_start_ms: int = 0
    day_start_equity: Decimal | None = None
    realised_pnl: Decimal = Decimal(0)
    fees: Decimal = Decimal(0)
    funding: Decimal = Decimal(0)


# --- events ---------------------------------------------------------------------------------------------------------


class Booted(Record, frozen=True, kw_only=True, tag="booted"):
    """First event of every run: the configuration and the hashes that every decision of this run names."""

    epoch: int
    config: EngineConfig
    settings_hash: str
    engine_hash: str
    strategy_hash: str


class Restored(Record, frozen=True, kw_only=True, tag="restored"):
    """State carried over from the journal of the previous run."""

    state: DurableState


class InstrumentUpdated(Record, frozen=True, kw_only=True, tag="instrument"):
    instrument: Instrument


class CandleHistory(Record, frozen=True, kw_only=True, tag="history"):
    """Closed candles before the stream begins, oldest first, without a gap or a duplicate."""

    symbol: str
    interval: str
    candles: tuple[Candle, ...]


class CandleClosed(Record, frozen=True, kw_only=True, tag="candle"):
    """A candle whose interval has ended, sealed by the next one's start or by the clock and a REST check."""

    symbol: str
    interval: str
    candle: Candle


class BookSampled(Record, frozen=True, kw_only=True, tag="book"):
    """The book of one symbol on the 1 s grid, best level first; prices in USDT, sizes in base coin.

    The row stands for boundary ``boundary_ms``: the last state before it, ``age_ms`` old there. Rows equal to their
    predecessor are not sent. ``buy_volume`` and ``sell_volume`` are traded base coin since the previous row.
    """

    symbol: str
    boundary_ms: int
    age_ms: int
    bid_px: tuple[float, ...]
    bid_sz: tuple[float, ...]
    ask_px: tuple[float, ...]
    ask_sz: tuple[float, ...]
    buy_volume: float = 0.0
    sell_volume: float = 0.0


class VenueBook(Record, frozen=True, kw_only=True, tag="venue_book"):
    """The book of another venue on the 5 s grid, best level first; sizes in base coin. Read only: nothing trades there.

    The row stands for boundary ``boundary_ms``: the last state before it, ``age_ms`` old there. ``stale``: that state is
    old or its feed was broken at the boundary. There is a row at every boundary once the venue was heard.
    """

    venue: str
    symbol: str
    boundary_ms: int
    age_ms: int
    stale: bool
    bid_px: tuple[float, ...]
    bid_sz: tuple[float, ...]
    ask_px: tuple[float, ...]
    ask_sz: tuple[float, ...]


class BookTop(Record, frozen=True, kw_only=True, tag="top"):
    """Best bid and ask of one symbol when they changed (coalesced to the newest). Prices USDT, sizes base coin."""

    symbol: str
    ts_exchange_ms: int
    bid: float
    bid_size: float
    ask: float
    ask_size: float


class TickerUpdated(Record, frozen=True, kw_only=True, tag="ticker"):
    """Mark and index price and funding of one symbol."""

    symbol: str
    ts_exchange_ms: int
    last: float
    mark: float
    index: float
    funding_rate: float = 0.0
    next_funding_ms: int = 0
    open_interest: float = 0.0


class FeedStatus(Record, frozen=True, kw_only=True, tag="feed"):
    """A symbol's market data became trustworthy or stopped being so (gap, checksum, silence, disconnect)."""

    symbol: str
    ok: bool
    reason: str = ""


class ClockMeasured(Record, frozen=True, kw_only=True, tag="clock"):
    """Difference between the exchange's clock and the bot's, ms (exchange − local), before correction."""

    offset_ms: int


class AccountVerified(Record, frozen=True, kw_only=True, tag="account_verified"):
    """Settings of the account for one symbol as the exchange reports them."""

    symbol: str
    position_mode: str
    margin_mode: str
    leverage: int


class AccountUpdated(Record, frozen=True, kw_only=True, tag="account"):
    """Equity includes unrealised profit; ``available`` is what may be used to open. USDT."""

    equity: Decimal
    available: Decimal
    balance: Decimal


class PositionsReported(Record, frozen=True, kw_only=True, tag="positions"):
    """The complete set of open positions as the exchange sees it; a symbol not listed is flat."""

    positions: tuple[PositionState, ...]


class OrderUpdated(Record, frozen=True, kw_only=True, tag="order"):
    """A state of one of our orders as pushed or queried. Cumulative; may repeat and arrive out of order.

    ``forced``: the exchange made it (liquidation, deleveraging, delivery), not we.
    """

    client_oid: str
    order_id: str
    symbol: str
    side: Side
    status: OrderStatus
    qty: Decimal
    filled_qty: Decimal
    avg_price: Decimal | None = None
    reduce_only: bool = False
    reason: str = ""
    forced: bool = False
    ts_exchange_ms: int = 0


class Filled(Record, frozen=True, kw_only=True, tag="fill"):
    """One execution. ``fee`` is negative when paid (USDT); ``realised`` is the exchange's profit before fees."""

    trade_id: str
    order_id: str
    client_oid: str
    symbol: str
    side: Side
    price: Decimal
    qty: Decimal
    fee: Decimal
    realised: Decimal
    maker: bool
    ts_exchange_ms: int


class FundingPaid(Record, frozen=True, kw_only=True, tag="funding"):
    """A funding settlement of one position; ``amount`` (USDT) is negative when we paid."""

    bill_id: str
    symbol: str
    amount: Decimal
    ts_exchange_ms: int


class Transferred(Record, frozen=True, kw_only=True, tag="transfer"):
    """Money moved into (positive) or out of the account, USDT. It is neither profit nor loss."""

    bill_id: str
    amount: Decimal
    ts_exchange_ms: int


class StopUpdated(Record, frozen=True, kw_only=True, tag="stop"):
    """State of an exchange-side trigger order (``orders-algo``). ``plan`` is the protocol's planType."""

    order_id: str
    client_oid: str
    symbol: str
    plan: str
    trigger_price: Decimal
    status: str


class CommandOutcome(Record, frozen=True, kw_only=True, tag="outcome"):
    """What became of a command: accepted says nothing about fills; unknown is being resolved by query."""

    client_oid: str
    symbol: str
    command: str
    outcome: OutcomeKind
    order_id: str = ""
    code: str = ""
    message: str = ""


class ForecastReady(Record, frozen=True, kw_only=True, tag="forecast"):
    """A forecast for the close at ``as_of_ms``.

    ``expected_bp`` is the expected return to ``as_of_ms + horizon_ms`` in bp; ``row_hash`` the first 16 hex digits of
    the SHA-256 of the float32 feature row it was computed from.
    """

    request_id: str
    symbol: str
    model: str
    version: str
    model_sha256: str
    as_of_ms: int
    horizon_ms: int
    row_hash: str
    expected_bp: float
    p_up: float
    p_down: float
    provisional: bool = False


class ForecastFailed(Record, frozen=True, kw_only=True, tag="forecast_failed"):
    request_id: str
    symbol: str
    reason: str


class ModelSwapped(Record, frozen=True, kw_only=True, tag="swap"):
    """From this event on, forecasts of ``ref.symbol`` come from ``ref``."""

    ref: ModelRef
    reason: str = ""


class RetrainEnded(Record, frozen=True, kw_only=True, tag="retrain"):
    """A retrain job finished. ``verdict`` is the gate's: promoted, provisional, refused or failed."""

    job_id: str
    symbol: str
    model: str
    version: str
    verdict: Literal["promoted", "provisional", "refused", "failed"]
    reason: str


class TimerFired(Record, frozen=True, kw_only=True, tag="timer"):
    """A moment the engine asked to be woken at."""

    name: str
    due_ms: int


class OperatorActed(Record, frozen=True, kw_only=True, tag="operator"):
    """A person or an external guard asked for something. ``symbol`` is empty for all."""

    action: OperatorAction
    actor: str
    symbol: str = ""
    reason: str = ""


class Leaving(Record, frozen=True, kw_only=True, tag="leaving"):
    """The daemon is about to end: working entries are cancelled; positions and their stops stay."""


class Reconciled(Record, frozen=True, kw_only=True, tag="reconciled"):
    """The exchange's whole view after a start, a reconnect or a periodic check.

    ``asked_ms`` is when we began to ask (bot's clock): what we heard since then may be newer than the answers.
    """

    positions: tuple[PositionState, ...]
    open_orders: tuple[OrderUpdated, ...]
    stops: tuple[StopUpdated, ...]
    asked_ms: int = 0


Event = (
    Booted
    | Restored
    | InstrumentUpdated
    | CandleHistory
    | CandleClosed
    | BookSampled
    | VenueBook
    | BookTop
    | TickerUpdated
    | FeedStatus
    | ClockMeasured
    | AccountVerified
    | AccountUpdated
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
    | TimerFired
    | OperatorActed
    | Leaving
    | Reconciled
)


# --- commands and records out of the engine -------------------------------------------------------------------------


class RequestForecast(Record, frozen=True, kw_only=True, tag="request_forecast"):
    """Ask serving for a forecast of ``symbol`` from ``row`` (float32 features in catalogue order, little endian)."""

    request_id: str
    symbol: str
    as_of_ms: int
    deadline_ms: int
    row: bytes
    row_hash: str


class PlaceOrder(Record, frozen=True, kw_only=True, tag="place"):
    """Send an order. ``preset_stop`` is the stop's trigger price, attached to the entry on the exchange."""

    client_oid: str
    symbol: str
    side: Side
    order_type: OrderType
    qty: Decimal
    purpose: Purpose
    decision_id: str
    price: Decimal | None = None
    tif: TimeInForce = "gtc"
    reduce_only: bool = False
    preset_stop: Decimal | None = None


class CancelOrder(Record, frozen=True, kw_only=True, tag="cancel"):
    client_oid: str
    symbol: str


class PlaceStop(Record, frozen=True, kw_only=True, tag="place_stop"):
    """Place the position's stop, triggered by the mark price. ``position_side`` is that of the position."""

    client_oid: str
    symbol: str
    position_side: Literal["long", "short"]
    trigger_price: Decimal


class CancelStop(Record, frozen=True, kw_only=True, tag="cancel_stop"):
    client_oid: str
    symbol: str
    order_id: str = ""


class ClosePosition(Record, frozen=True, kw_only=True, tag="close_position"):
    """Flash-close the whole position of a symbol."""

    client_oid: str
    symbol: str
    reason: str


class SetTimer(Record, frozen=True, kw_only=True, tag="set_timer"):
    """Send TimerFired(name) at ``due_ms``; setting a name again moves it; ``due_ms`` 0 takes it back."""

    name: str
    due_ms: int


class RequestReconcile(Record, frozen=True, kw_only=True, tag="request_reconcile"):
    """Ask the shell to fetch the exchange's whole view and answer with Reconciled."""

    reason: str


class TradabilityChanged(Record, frozen=True, kw_only=True, tag="tradability"):
    """The engine itself stopped or resumed entries; ``symbol`` is empty for all. Durable."""

    state: Tradability
    reason: str
    symbol: str = ""


class RiskCheck(msgspec.Struct, frozen=True, array_like=True):
    """One check with what it saw and what it allowed, both as text exact to the last digit."""

    name: str
    value: str
    limit: str
    verdict: Verdict


class Decision(Record, frozen=True, kw_only=True, tag="decision"):
    """Why the bot did, or did not do, something. Non-decisions are recorded like decisions.

    ``action`` is what the strategy wanted; ``verdict`` what risk made of it; ``qty`` and ``client_oid`` what was sent.
    """

    decision_id: str
    ts_ms: int
    symbol: str
    mode: Mode
    strategy: str
    action: Literal["enter_long", "enter_short", "exit", "hold"]
    reason: str
    verdict: Verdict
    checks: tuple[RiskCheck, ...]
    model: str
    version: str
    model_sha256: str
    row_hash: str
    expected_bp: float | None
    p_up: float | None
    p_down: float | None
    provisional: bool
    bid: float
    ask: float
    position_qty: Decimal
    qty: Decimal
    client_oid: str = ""


class Alert(Record, frozen=True, kw_only=True, tag="alert"):
    severity: Literal["info", "warning", "critical"]
    code: str
    message: str
    symbol: str = ""


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
)

RECORDED_OUTPUTS = (PlaceOrder, CancelOrder, PlaceStop, CancelStop, ClosePosition, TradabilityChanged, Decision, Alert)
"""Engine outputs that the journal keeps and replay compares; the others have no lasting effect of their own."""
