"""The sections of the settings: every key in them, its type, its default and what it means.

Amounts are USDT, fractions are of equity or price, durations are written with their unit (``10s``, ``7d``).
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, Strict

from tradebot.duration import Duration
from tradebot.events import RiskLimits
from tradebot.settings.values import (
    Amount,
    Day,
    Fee,
    Flag,
    Grid,
    HistoryKinds,
    HistoryVenues,
    Interval,
    Latency,
    MedianAndP99,
    ModelFamilies,
    ModelFamily,
    Models,
    Modes,
    Parameter,
    References,
    RestAddress,
    Seed,
    Span,
    Symbols,
    Text,
    VenueNames,
    Whole,
    WsAddress,
)


class Section(BaseModel):
    """A group of settings. Immutable; unknown keys are errors; the text below a key is its documentation."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class ExchangeSettings(Section):
    """Where Bitget is reached. Keys and secrets are never written here (see `tradebot doctor`)."""

    rest_url: RestAddress = "https://api.bitget.com"
    """REST endpoint. http:// only for an exchange on this machine (also ws:// below)."""
    public_ws: WsAddress = "wss://ws.bitget.com/v2/ws/public"
    """Public WebSocket (market data)."""
    private_ws: WsAddress = "wss://ws.bitget.com/v2/ws/private"
    """Private WebSocket (orders, fills, positions)."""
    demo_public_ws: WsAddress = "wss://wspap.bitget.com/v2/ws/public"
    """Public WebSocket in mode exchange-demo."""
    demo_private_ws: WsAddress = "wss://wspap.bitget.com/v2/ws/private"
    """Private WebSocket in mode exchange-demo."""
    clock: Literal["wall", "paced"] = "wall"
    """wall: the exchange's clock runs by itself. paced: an embedded exchange waits for this bot at every step."""
    rate_limited: Flag = True
    """Respect the exchange's request limits; off only against an embedded exchange."""


class TradingSettings(Section):
    """How a signal becomes a position."""

    interval: Literal["5m"] = "5m"
    """Candle interval that is decided on; models of longer candles are asked when one of theirs closes."""
    references: References = ("BTCUSDT", "ETHUSDT")
    """Symbols whose candles are heard beside those traded, as features, because models are trained with them."""
    leverage: Annotated[int, Strict(), Field(ge=1, le=125)] = 2
    """Leverage the account must be set to for each symbol."""
    margin_mode: Literal["isolated", "crossed"] = "isolated"
    """Margin mode the account must be set to for each symbol."""
    order_notional: Amount = Decimal(500)
    """Size of a full entry, USDT."""
    forecast_deadline_ms: Annotated[int, Strict(), Field(ge=1, le=60_000)] = 2_000
    """A forecast later than this after it was asked for is recorded and not traded, ms."""


class StrategySettings(Section):
    """Which strategy of the strategies folder decides."""

    name: Text = "threshold"
    """File name without .py."""
    params: dict[str, Parameter] = {}
    """Parameters of that strategy, checked by the strategy itself."""
    models: Models = ()
    """Models whose champions it hears, in order: NAME (its own candles) or NAME-INTERVAL; []: those retrained."""
    max_hook: Span = Duration(500)
    """Processor time that one call of the strategy may take; a longer one pauses it."""


class RiskSettings(Section):
    """Limits that every entry must respect; docs/risk.md says what each does. Exits are never limited."""

    max_position_notional: Amount = Decimal(2_000)
    """Largest position in one symbol, USDT at mark price."""
    max_gross_notional: Amount = Decimal(5_000)
    """Largest sum of all positions, USDT at mark price."""
    max_leverage: Amount = Decimal(3)
    """Largest sum of all positions as a multiple of equity."""
    max_margin_use: Annotated[Amount, Field(le=1)] = Decimal("0.8")
    """Largest share of equity bound as margin."""
    min_liquidation_distance: Annotated[Amount, Field(lt=1)] = Decimal("0.03")
    """Least distance to liquidation, as a fraction of price. A position that comes nearer is closed."""
    max_correlated_notional: Amount = Decimal(4_000)
    """Largest net sum of positions in symbols that move alike, USDT."""
    correlated_from: Annotated[float, Field(gt=0, le=1)] = 0.7
    """Correlation of candle returns from which two symbols move alike."""
    correlation_candles: Annotated[int, Strict(), Field(ge=30, le=2_016)] = 288
    """How many of the last candles it is taken over."""
    max_entries_per_minute: Whole = 30
    """Most entries sent within a minute."""
    max_entries_per_hour: Whole = 200
    """Most entries sent within an hour."""
    max_open_orders: Whole = 40
    """No entry is made while so many orders are open."""
    max_mark_deviation: Annotated[Amount, Field(lt=1)] = Decimal("0.01")
    """Largest distance of an entry's price from the mark price, as a fraction of it."""
    max_spread_bp: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 20.0
    """Largest spread at an entry, bp."""
    depth_within_bp: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 20.0
    """How far from the best price the book counts as depth, bp."""
    max_depth_share: Annotated[Amount, Field(le=1)] = Decimal("0.5")
    """Largest share of that depth an entry may take."""
    max_daily_loss: Annotated[Amount, Field(lt=1)] = Decimal("0.03")
    """Loss since UTC midnight, as a fraction of equity then, from which no entry is made until the next."""
    max_drawdown: Annotated[Amount, Field(lt=1)] = Decimal("0.2")
    """Fall of profit below its peak, as a fraction of equity there, that halts the bot."""
    max_losses_in_a_row: Whole | None = 20
    """Losing trades in a row after which no entry is made until a person resumes; null: any number."""
    max_model_loss: Annotated[Amount, Field(lt=1)] = Decimal("0.1")
    """What one version of a model may lose, as a fraction of equity, before it makes no more entries."""
    close_worst: Flag = False
    """Whether the position that loses most is closed when the daily loss or the drawdown is reached."""
    funding_window: Span = Duration(300_000)
    """No entry is made this shortly before a funding settlement that it would pay."""
    delisting_close: Span = Duration(6 * 3_600_000)
    """How long before a contract ends its position is closed. (Entries stop a day before.)"""
    max_book_age: Span = Duration(10_000)
    """Older books block entries."""
    max_candle_age: Span = Duration(30_000)
    """A decision later than this after the candle's close makes no entry."""
    max_clock_offset: Span = Duration(1_000)
    """Difference between the exchange's clock and ours from which no entry is made."""
    max_account_age: Span = Duration(180_000)
    """No entry is made when the account was not seen as a whole for longer than this (it is looked at every minute)."""
    cooldown: Span = Duration(600_000)
    """Pause in a symbol after a losing exit."""
    stop_distance: Annotated[Amount, Field(lt=1)] = Decimal("0.02")
    """Distance of the protective stop from entry, as a fraction of price (never beyond 60 % of the way to
    liquidation)."""
    stop_confirm: Span = Duration(5_000)
    """A position whose stop is not confirmed within this time is closed."""
    capital: Amount | None = None
    """Equity that the leverage limit and the loss limits count with at most, USDT; null: all of it."""

    def limits(self) -> RiskLimits:
        """The same limits as the engine takes them (durations in ms)."""
        return RiskLimits(
            max_position_notional=self.max_position_notional,
            max_gross_notional=self.max_gross_notional,
            max_leverage=self.max_leverage,
            max_daily_loss=self.max_daily_loss,
            max_book_age_ms=self.max_book_age.ms,
            max_candle_age_ms=self.max_candle_age.ms,
            max_clock_offset_ms=self.max_clock_offset.ms,
            max_account_age_ms=self.max_account_age.ms,
            cooldown_ms=self.cooldown.ms,
            stop_distance=self.stop_distance,
            stop_confirm_ms=self.stop_confirm.ms,
            capital=self.capital,
            max_margin_use=self.max_margin_use,
            min_liquidation_distance=self.min_liquidation_distance,
            max_correlated_notional=self.max_correlated_notional,
            correlated_from=self.correlated_from,
            correlation_candles=self.correlation_candles,
            max_entries_per_minute=self.max_entries_per_minute,
            max_entries_per_hour=self.max_entries_per_hour,
            max_open_orders=self.max_open_orders,
            max_mark_deviation=self.max_mark_deviation,
            max_spread_bp=self.max_spread_bp,
            depth_within_bp=self.depth_within_bp,
            max_depth_share=self.max_depth_share,
            max_drawdown=self.max_drawdown,
            max_losses_in_a_row=self.max_losses_in_a_row,
            max_model_loss=self.max_model_loss,
            close_worst=self.close_worst,
            funding_window_ms=self.funding_window.ms,
            delisting_close_ms=self.delisting_close.ms,
        )


class UniverseSettings(Section):
    """Which symbols are traded when they are not listed: the largest perpetuals, chosen again at every refresh."""

    top: Annotated[int, Strict(), Field(ge=1, le=500)] | None = None
    """How many, by volume of the last 24 hours, instead of `symbols`; null: `symbols`."""
    max_spread_bp: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 5.0
    """Largest spread, bp."""
    min_volume: Amount = Decimal(10_000_000)
    """Least volume of the last 24 hours, USDT."""
    deny: Symbols | None = None
    """Symbols that are never chosen; null: none."""
    min_age: Span = Duration(30 * 86_400_000)
    """Contracts listed more recently are left out."""
    refresh: Span = Duration(86_400_000)
    """Time between choices; at multiples of it since midnight UTC."""


class FeedSettings(Section):
    """When market data count as lost. Entries are blocked meanwhile."""

    silence: Span = Duration(60_000)
    """A symbol whose book or ticker says nothing for this long, on a connection that lives, is out: its subscription is
    renewed, then its connection."""
    answer: Span = Duration(10_000)
    """A renewed subscription must say something within this time."""
    behind: Span = Duration(2_000)
    """Data older than this when they are read are too old to act on."""


class RetrainSettings(Section):
    """When and how models are trained again. Training never runs inside the trading process."""

    enabled: Flag = True
    """Whether the daemon asks for retrains by itself (never for a strategy that asks no model)."""
    model: ModelFamily = "lightgbm"
    """Model family; NAME-INTERVAL for other candles than its own, like bilstm-15m."""
    models: ModelFamilies = ()
    """Several of them, each trained again in its turn; []: `model` alone."""
    options: dict[str, dict[str, Parameter]] = {}
    """Options of families, like {lightgbm: {horizon: 3}}; bilstm-1h: of that model alone. The family checks them."""
    every: Span = Duration(7 * 86_400_000)
    """Time between retrains of a symbol, by the exchange's clock."""
    days: Whole = 180
    """Days of candles a training uses."""
    trials: Whole = 8
    """Parameter sets tried by the search."""
    rounds: Whole = 300
    """Most boosting rounds of one fit."""
    epochs: Whole | None = None
    """Most epochs of one fit of a net; null: what the family says."""
    lr: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] | None = None
    """Learning rate, which is then not searched; null: searched, or what the family says."""
    batch_size: Whole | None = None
    """Rows of one step of a net; null: searched, or what the family says."""
    test_size: Annotated[float, Field(ge=0.02, le=0.5)] = 0.15
    """Newest share of the time span, judged on and used for nothing else."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where nets are fitted; auto: on an accelerator where there is one."""
    threads: Whole = 1
    """Threads of a training process."""
    seed: Seed = 7
    """Seed of everything random in a training."""
    executor: Literal["process", "files"] = "process"
    """process: the daemon starts a low-priority child. files: a job file is left for tradebot-retrain.service."""
    landing: Span = Duration(20 * 60_000)
    """Exchange time a retrain takes under a paced clock, whatever the machine needs."""


class PaperSettings(Section):
    """The paper broker of mode paper."""

    cash: Amount = Decimal(10_000)
    """Equity at the first start, USDT."""
    latency_ms: Latency = (20, 80)
    """Least and most time from order to book, ms; all between are as likely."""
    latency_lognormal_ms: MedianAndP99 | None = None
    """Instead: median and 99th percentile of a log-normal one, ms, like [30, 200]; null: latency_ms."""
    maker_fee: Fee | None = None
    """What resting orders pay, as a fraction of notional (0.0002 is 2 bp; negative: a rebate); null: the base rate."""
    taker_fee: Fee | None = None
    """What orders pay that execute at once; null: the base rate of the contract."""


class DataSettings(Section):
    """History of markets: candles, books, trades, funding."""

    root: Text = "data"
    """Folder (counted from this file's), or the address of an object store such as s3://bucket/data."""
    venues: HistoryVenues = ("bitget",)
    """Whose history `tradebot data fetch` gets: bitget, binance-perp, binance-spot (of Binance candles and books)."""
    kinds: HistoryKinds = ("candles", "mark", "funding", "open-interest")
    """What it gets: candles, mark (candles of the mark price), funding, open-interest, books (Tardis, with a key)."""
    symbols: Symbols | None = None
    """Which symbols; null: the bot's."""
    start: Day | None = None
    """First day (UTC); null: `days` before the end."""
    end: Day | None = None
    """Last day (UTC), itself included; null: today."""
    days: Annotated[int, Strict(), Field(ge=1, le=36_500)] = 92
    """Length where no start is given."""
    interval: Interval = "5m"
    """Length of the candles."""
    depth: Annotated[int, Strict(), Field(ge=1, le=25)] = 10
    """Levels of each side of a book."""
    grid: Grid = Duration(1_000)
    """Time between book rows, whole seconds."""
    workers: Annotated[int, Strict(), Field(ge=1, le=20)] = 20
    """Most requests in flight."""
    tardis_url: RestAddress = "https://datasets.tardis.dev"
    """Tardis' files. Its key: $CREDENTIALS_DIRECTORY/tardis_key or TRADEBOT_DATA__TARDIS_KEY, never this file."""


class RecorderSettings(Section):
    """What the bot hears of the market, kept: today in state_dir/recorder, finished days in data.root."""

    modes: Modes = ("paper",)
    """Modes in which `tradebot run` records; []: none. `tradebot record` records in any case."""
    sync: Span = Duration(10_000)
    """Time between making what was recorded durable: the most that a power cut costs."""


class VenuesSettings(Section):
    """Books of other venues, read only: the best 5 levels every 5 s. Nothing is ever traded there."""

    books: VenueNames = ()
    """Which venues: binance-spot, binance-perp, bybit-spot; []: none."""
    pairs: Symbols | None = None
    """Which pairs, as the venues write them; null: the bot's symbols."""
    stale_after: Span = Duration(10_000)
    """A book that has not changed for this long is told as stale."""
    binance_spot_rest: RestAddress = "https://api.binance.com"
    """Snapshots of Binance spot."""
    binance_spot_ws: WsAddress = "wss://stream.binance.com:9443"
    """Changes of Binance spot."""
    binance_perp_rest: RestAddress = "https://fapi.binance.com"
    """Snapshots of Binance's USDT perpetuals."""
    binance_perp_ws: WsAddress = "wss://fstream.binance.com"
    """Changes of Binance's USDT perpetuals."""
    bybit_spot_ws: WsAddress = "wss://stream.bybit.com/v5/public/spot"
    """Snapshots and changes of Bybit spot."""


class JournalSettings(Section):
    """The write-ahead log in state_dir/journal: what decisions are recomputed from."""

    keep: Span | None = Duration(30 * 86_400_000)
    """Older records expire; null: none. What the present state or the ledger needs is always kept."""
    max_bytes: Annotated[int, Strict(), Field(ge=1 << 20)] | None = 20 << 30
    """Above this size the oldest records expire, whatever their age; null: no limit."""
    snapshot: Span = Duration(3_600_000)
    """Time between snapshots of the engine: places at which a journal whose older part expired can begin."""


class LedgerSettings(Section):
    """Where orders, fills and decisions are kept for queries."""

    url: Text | None = None
    """SQLAlchemy URL; null: SQLite in state_dir. A URL with a password goes into TRADEBOT_LEDGER__URL."""


class MetricsSettings(Section):
    """The metrics endpoint on this machine: /metrics (Prometheus), /livez, /readyz."""

    port: Annotated[int, Strict(), Field(ge=0, le=65_535)] | None = None
    """TCP port on 127.0.0.1, e.g. 9464; 0: any free one (`tradebot status` tells it); null: no endpoint."""


class LogSettings(Section):
    """The process log (not the signal audit)."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """Least severity that is written."""
    format: Literal["auto", "json", "terminal"] = "auto"
    """auto: readable on a terminal, JSON lines elsewhere."""


class AuditSettings(Section):
    """The JSONL mirror of every decision, in state_dir/audit."""

    max_bytes: Annotated[int, Strict(), Field(ge=65_536)] = 64 * 1024 * 1024
    """A file larger than this is rotated."""
    keep: Whole = 10
    """Rotated files kept."""
