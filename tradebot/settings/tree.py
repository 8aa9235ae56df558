"""The tree of settings: every key, its type, its default and what it means.

Only the command line and the daemon's composition root know this tree; everything else is given plain arguments.
Loading and layering live in ``tradebot.settings.layers``. Amounts are USDT, fractions are of equity or price,
durations are written with their unit (``10s``, ``7d``).
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
import math
import re
from collections.abc import Sequence
from datetime import date
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated, Any, Literal, get_args
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, PlainValidator, Strict

from tradebot.duration import Duration
from tradebot.events import EngineConfig, Mode, RiskLimits
from tradebot.market.instrument import exact

RECORDED_MODES = ("paper", "exchange-demo", "live")
VENUES = ("binance-spot", "binance-perp", "bybit-spot")
HISTORY_VENUES = ("bitget", "binance-perp", "binance-spot")
HISTORY_KINDS = ("candles", "mark", "funding", "open-interest", "books")
_SYMBOL = re.compile(r"[A-Z0-9]{2,30}")


def _amount(value: object) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        raise ValueError("expected a number")
    try:
        number = exact(value)
    except InvalidOperation:
        raise ValueError("expected a number") from None
    if not number.is_finite():
        raise ValueError("expected a finite number")
    # 500, 500.0 and "500.00" are one setting and must hash and print as one
    return number.quantize(Decimal(1)) if number == number.to_integral_value() else number.normalize()


def _duration(value: object) -> Duration:
    if isinstance(value, Duration):
        return value
    if not isinstance(value, str):
        raise ValueError(f"expected a duration with its unit, like {Duration.EXAMPLES}")
    try:
        return Duration.parse(value)
    except OverflowError:
        raise ValueError("longer than any duration can be") from None


def _grid(value: object) -> Duration:
    length = _duration(value)
    if not length.ms or length.ms % 1000 or 86_400_000 % length.ms:
        raise ValueError("expected whole seconds that divide a day, like 1s or 5s")
    return length


def _on_this_machine(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _address(value: object, encrypted: str, plain: str) -> str:
    if not isinstance(value, str):
        raise ValueError(f"expected an address like {encrypted}://...")
    try:
        parts = urlsplit(value)
        host = parts.hostname
        _ = parts.port  # raises when it is none
    except ValueError:
        raise ValueError("not an address") from None
    if not value.isascii() or any(c.isspace() or not c.isprintable() for c in value):
        raise ValueError("an address has no spaces and no characters beyond ASCII")
    if parts.scheme not in (encrypted, plain) or not host:
        raise ValueError(f"expected an address like {encrypted}://...")
    if parts.scheme == plain and not _on_this_machine(host):
        raise ValueError(f"{plain}:// is for an exchange on this machine only; write {encrypted}://")
    return value


def _rest_address(value: object) -> str:
    return _address(value, "https", "http")


def _ws_address(value: object) -> str:
    return _address(value, "wss", "ws")


def _symbols(value: object) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
        raise ValueError("expected a list of symbols, like [SOLUSDT, BTCUSDT]")
    if not value:
        raise ValueError("at least one symbol is needed")
    for item in value:
        if not _SYMBOL.fullmatch(item):
            raise ValueError(f"{item!r} is not a symbol; write it as the exchange does, like SOLUSDT")
    if len(set(value)) != len(value):
        raise ValueError("a symbol is named twice")
    return tuple(value)


def _names(value: object, known: Sequence[str], what: str) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(item in known for item in value):
        raise ValueError(f"expected a list of {what} ({', '.join(known)}), like [{known[0]}], or []")
    if len(set(value)) != len(value):
        raise ValueError("one is named twice")
    return tuple(value)


def _modes(value: object) -> tuple[str, ...]:
    return _names(value, RECORDED_MODES, "modes")


def _venues(value: object) -> tuple[str, ...]:
    return _names(value, VENUES, "venues")


def _history_venues(value: object) -> tuple[str, ...]:
    return _names(value, HISTORY_VENUES, "venues")


def _history_kinds(value: object) -> tuple[str, ...]:
    return _names(value, HISTORY_KINDS, "kinds")


def _day(value: object) -> str:
    text = value.isoformat() if type(value) is date else value
    try:
        if isinstance(text, str) and date.fromisoformat(text).isoformat() == text:
            return text
    except ValueError:
        pass
    raise ValueError("expected a date like 2026-01-05")


def _latency(value: object) -> tuple[int, int]:
    if (
        not isinstance(value, list | tuple)
        or len(value) != 2
        or not all(isinstance(item, int) and not isinstance(item, bool) for item in value)
        or not 0 <= value[0] <= value[1] <= 60_000
    ):
        raise ValueError("expected two whole numbers of milliseconds, least and most, like [20, 80]")
    return value[0], value[1]


def _finite(value: object) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("expected a finite number")
    return value


Flag = Annotated[bool, Strict()]
Text = Annotated[str, Strict(), Field(min_length=1)]
Whole = Annotated[int, Strict(), Field(ge=1)]
Amount = Annotated[Decimal, BeforeValidator(_amount), Field(gt=0)]
MAX_SEED = 2**32 - 1
"""The largest seed that every generator in use takes."""
Seed = Annotated[int, Strict(), Field(ge=0, le=MAX_SEED)]
ModelFamily = Literal["lightgbm"]
MODEL_FAMILIES: tuple[str, ...] = get_args(ModelFamily)
"""Names of the families in ``tradebot.forecasters``, which is not imported here because that takes a second."""
RestAddress = Annotated[str, BeforeValidator(_rest_address)]
WsAddress = Annotated[str, BeforeValidator(_ws_address)]
Span = Annotated[Duration, PlainValidator(_duration, json_schema_input_type=str), PlainSerializer(str, return_type=str)]
Grid = Annotated[Duration, PlainValidator(_grid, json_schema_input_type=str), PlainSerializer(str, return_type=str)]
Interval = Literal["1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "12h", "1d"]
Symbols = Annotated[tuple[str, ...], BeforeValidator(_symbols)]
Modes = Annotated[tuple[str, ...], BeforeValidator(_modes)]
VenueNames = Annotated[tuple[str, ...], BeforeValidator(_venues)]
HistoryVenues = Annotated[tuple[str, ...], BeforeValidator(_history_venues)]
HistoryKinds = Annotated[tuple[str, ...], BeforeValidator(_history_kinds)]
Day = Annotated[str, PlainValidator(_day, json_schema_input_type=str)]
Latency = Annotated[tuple[int, int], BeforeValidator(_latency)]
Parameter = Annotated[float | int | str | bool | None, BeforeValidator(_finite)]


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
    """Candle interval the models read."""
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


class RiskSettings(Section):
    """Limits that every entry must respect. Exits are never limited."""

    max_position_notional: Amount = Decimal(2_000)
    """Largest position in one symbol, USDT at mark price."""
    max_gross_notional: Amount = Decimal(5_000)
    """Largest sum of all positions, USDT at mark price."""
    max_leverage: Amount = Decimal(3)
    """Largest sum of all positions as a multiple of equity."""
    max_daily_loss: Annotated[Amount, Field(lt=1)] = Decimal("0.03")
    """Loss since UTC midnight, as a fraction of equity then, from which no entry is made."""
    max_book_age: Span = Duration(10_000)
    """Older books block entries."""
    max_candle_age: Span = Duration(30_000)
    """A decision later than this after the candle's close makes no entry."""
    max_clock_offset: Span = Duration(1_000)
    """Difference between the exchange's clock and ours from which no entry is made."""
    cooldown: Span = Duration(600_000)
    """Pause in a symbol after a losing exit."""
    stop_distance: Annotated[Amount, Field(lt=1)] = Decimal("0.02")
    """Distance of the protective stop from entry, as a fraction of price (never beyond 60 % of the way to
    liquidation)."""
    stop_confirm: Span = Duration(5_000)
    """A position whose stop is not confirmed within this time is closed."""
    capital: Amount | None = None
    """Equity the leverage limit counts with, USDT; null: all of it."""

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
            cooldown_ms=self.cooldown.ms,
            stop_distance=self.stop_distance,
            stop_confirm_ms=self.stop_confirm.ms,
            capital=self.capital,
        )


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
    """Whether the daemon asks for retrains by itself."""
    model: ModelFamily = "lightgbm"
    """Model family."""
    every: Span = Duration(7 * 86_400_000)
    """Time between retrains of a symbol, by the exchange's clock."""
    days: Whole = 180
    """Days of candles a training uses."""
    trials: Whole = 8
    """Parameter sets tried by the search."""
    rounds: Whole = 300
    """Most boosting rounds of one fit."""
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
    """Least and most time from order to book, ms."""


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
    days: Whole = 92
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


class Settings(Section):
    """Every setting of the bot, validated. Paths are absolute once loaded."""

    mode: Mode = "paper"
    """demo | paper | exchange-demo | live. live also needs a key, `tradebot run --live` and a typed confirmation."""
    symbols: Symbols = ("SOLUSDT",)
    """USDT perpetuals to trade."""
    state_dir: Path = Path("state")
    """Journal, ledger, audit, jobs and control socket. Relative paths count from this file's folder."""
    model_store: Path = Path("model_store")
    """Model versions."""
    strategies_dir: Path = Path("strategies")
    """Strategy files."""
    exchange: ExchangeSettings = ExchangeSettings()
    trading: TradingSettings = TradingSettings()
    strategy: StrategySettings = StrategySettings()
    risk: RiskSettings = RiskSettings()
    feed: FeedSettings = FeedSettings()
    retrain: RetrainSettings = RetrainSettings()
    paper: PaperSettings = PaperSettings()
    data: DataSettings = DataSettings()
    recorder: RecorderSettings = RecorderSettings()
    venues: VenuesSettings = VenuesSettings()
    ledger: LedgerSettings = LedgerSettings()
    metrics: MetricsSettings = MetricsSettings()
    log: LogSettings = LogSettings()
    audit: AuditSettings = AuditSettings()

    @property
    def public_ws(self) -> str:
        """The public WebSocket of this mode."""
        return self.exchange.demo_public_ws if self.mode == "exchange-demo" else self.exchange.public_ws

    @property
    def private_ws(self) -> str:
        """The private WebSocket of this mode."""
        return self.exchange.demo_private_ws if self.mode == "exchange-demo" else self.exchange.private_ws

    @property
    def ledger_url(self) -> str:
        """SQLAlchemy URL of the ledger."""
        return self.ledger.url or f"sqlite:///{self.state_dir / 'ledger.sqlite'}"

    @property
    def control_socket(self) -> Path:
        """Unix socket on which a running daemon answers."""
        return self.state_dir / "control.sock"

    @property
    def audit_file(self) -> Path:
        """Newest file of the signal audit."""
        return self.state_dir / "audit" / "signals.jsonl"

    @property
    def jobs_dir(self) -> Path:
        """The queue of retrain jobs."""
        return self.state_dir / "jobs"

    @property
    def recorder_dir(self) -> Path:
        """Today's raw recordings."""
        return self.state_dir / "recorder"

    def settings_hash(self) -> str:
        """SHA-256 of every setting that can change a decision, as canonical JSON.

        Where files lie, which address the exchange has and how logs look is left out: the same bot on another
        machine has the same hash. Secrets are no settings and cannot be in it.
        """
        tree: dict[str, Any] = self.model_dump(mode="json")
        for name in (
            "state_dir",
            "metrics",
            "model_store",
            "strategies_dir",
            "data",
            "recorder",
            "venues",
            "ledger",
            "log",
            "audit",
        ):
            del tree[name]
        for name in [key for key in tree["exchange"] if key.endswith(("_ws", "_url"))]:
            del tree["exchange"][name]
        text = json.dumps(tree, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        return hashlib.sha256(text.encode()).hexdigest()


def engine_config(settings: Settings) -> EngineConfig:
    """What the engine needs to know of the settings."""
    return EngineConfig(
        mode=settings.mode,
        symbols=settings.symbols,
        strategy=settings.strategy.name,
        strategy_params=dict(settings.strategy.params),
        interval=settings.trading.interval,
        leverage=settings.trading.leverage,
        margin_mode=settings.trading.margin_mode,
        order_notional=settings.trading.order_notional,
        forecast_deadline_ms=settings.trading.forecast_deadline_ms,
        risk=settings.risk.limits(),
    )


def contradictions(settings: Settings) -> list[tuple[str, str]]:
    """Settings that are each fine and do not go together, as (dotted key, what is wrong)."""
    found = []
    trading, risk = settings.trading, settings.risk
    if trading.leverage > risk.max_leverage:
        found.append(("trading.leverage", f"{trading.leverage} is above risk.max_leverage ({risk.max_leverage})"))
    if trading.order_notional > risk.max_position_notional:
        limit = risk.max_position_notional
        found.append(
            ("trading.order_notional", f"{trading.order_notional} is above risk.max_position_notional ({limit})")
        )
    if risk.max_position_notional > risk.max_gross_notional:
        limit = risk.max_gross_notional
        found.append(
            ("risk.max_position_notional", f"{risk.max_position_notional} is above risk.max_gross_notional ({limit})")
        )
    if settings.data.start and settings.data.end and settings.data.start > settings.data.end:
        found.append(("data.start", f"{settings.data.start} is after data.end ({settings.data.end})"))
    if settings.retrain.every.ms < 60_000:
        found.append(("retrain.every", f"must be at least 1m, is {settings.retrain.every}"))
    if settings.venues.books and settings.exchange.clock == "paced":
        found.append(("venues.books", "other venues have no paced clock; [] with exchange.clock paced"))
    if settings.mode in ("live", "exchange-demo"):
        if settings.exchange.clock == "paced":
            found.append(("exchange.clock", f"paced works with an embedded exchange only, not in mode {settings.mode}"))
        if not settings.exchange.rate_limited:
            found.append(("exchange.rate_limited", f"must stay on in mode {settings.mode}"))
    if settings.mode == "live":
        for name in ("rest_url", "public_ws", "private_ws"):
            url = getattr(settings.exchange, name)
            if not url.startswith(("https://", "wss://")):
                found.append((f"exchange.{name}", f"mode live needs an encrypted address, not {url!r}"))
    return found
