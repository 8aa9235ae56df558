"""The tree of settings: its sections together, what is derived from them, and what does not go together.

Only the command line and the daemon's composition root know this tree; everything else is given plain arguments.
Loading and layering live in ``tradebot.settings.layers``.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from tradebot.duration import Duration
from tradebot.events import EngineConfig, Mode, model_name, split_model
from tradebot.events.models import full_name
from tradebot.market.candle import INTERVAL_MS
from tradebot.settings.sections import (
    AuditSettings,
    DataSettings,
    ExchangeSettings,
    FeedSettings,
    JournalSettings,
    LedgerSettings,
    LogSettings,
    MetricsSettings,
    PaperSettings,
    RecorderSettings,
    RetrainSettings,
    RiskSettings,
    Section,
    StrategySettings,
    TradingSettings,
    UniverseSettings,
    VenuesSettings,
)
from tradebot.settings.values import Symbols


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
    universe: UniverseSettings = UniverseSettings()
    feed: FeedSettings = FeedSettings()
    retrain: RetrainSettings = RetrainSettings()
    paper: PaperSettings = PaperSettings()
    data: DataSettings = DataSettings()
    recorder: RecorderSettings = RecorderSettings()
    venues: VenuesSettings = VenuesSettings()
    journal: JournalSettings = JournalSettings()
    ledger: LedgerSettings = LedgerSettings()
    metrics: MetricsSettings = MetricsSettings()
    log: LogSettings = LogSettings()
    audit: AuditSettings = AuditSettings()

    @property
    def traded(self) -> str:
        """What is traded, in words."""
        top = self.universe.top
        return ", ".join(self.symbols) if top is None else f"the {top} largest perpetuals"

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
            "journal",
            "ledger",
            "log",
            "audit",
        ):
            del tree[name]
        for name in [key for key in tree["exchange"] if key.endswith(("_ws", "_url"))]:
            del tree["exchange"][name]
        text = json.dumps(tree, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        return hashlib.sha256(text.encode()).hexdigest()


def trained_models(settings: Settings) -> tuple[str, ...]:
    """The models that are trained, by the names they are asked under."""
    base = settings.trading.interval
    names = settings.retrain.models or (settings.retrain.model,)
    return tuple(dict.fromkeys(model_name(*split_model(name, base), base) for name in names))


def served_models(settings: Settings) -> tuple[str, ...]:
    """The models that the strategy hears, likewise."""
    base = settings.trading.interval
    names = tuple(model_name(*split_model(name, base), base) for name in settings.strategy.models)
    return tuple(dict.fromkeys(names)) or trained_models(settings)


def engine_config(settings: Settings) -> EngineConfig:
    """What the engine needs to know of the settings."""
    return EngineConfig(
        mode=settings.mode,
        symbols=settings.symbols,
        strategy=settings.strategy.name,
        strategy_params=dict(settings.strategy.params),
        models=served_models(settings),
        references=settings.trading.references,
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
    if settings.universe.top is not None and settings.exchange.clock == "paced":
        found.append(("universe.top", "a paced clock needs listed symbols; null with exchange.clock paced"))
    if settings.universe.top is not None and settings.symbols != Settings.model_fields["symbols"].default:
        found.append(("universe.top", "chooses the symbols itself; leave symbols out, or top null"))
    base = settings.trading.interval
    for key, names in (("strategy.models", served_models(settings)), ("retrain.models", trained_models(settings))):
        for name in names:
            interval = split_model(name, base)[1]
            if INTERVAL_MS[interval] % INTERVAL_MS[base]:
                found.append((key, f"{name}: its candles are not made of whole {base} candles"))
    known = {part for name in trained_models(settings) for part in (split_model(name, base)[0], full_name(name, base))}
    for name in settings.retrain.options:
        if name not in known:
            told = ", ".join(trained_models(settings))
            found.append(("retrain.options", f"{name!r} is none of the models that are trained ({told})"))
    least, leverage = risk.min_liquidation_distance, trading.leverage
    if trading.margin_mode == "isolated" and least * leverage >= 1:
        away = f"liquidation is less than {1 / leverage:.3g} away at trading.leverage {leverage}"
        found.append(("risk.min_liquidation_distance", f"{least} cannot be met: {away}"))
    spans: dict[str, tuple[Duration | None, Duration]] = {
        "universe.refresh": (settings.universe.refresh, Duration(3_600_000)),
        "retrain.every": (settings.retrain.every, Duration(60_000)),
        "strategy.max_hook": (settings.strategy.max_hook, Duration(10)),
        "journal.snapshot": (settings.journal.snapshot, Duration(60_000)),
        "journal.keep": (settings.journal.keep, Duration(86_400_000)),
    }
    for key, (span, shortest) in spans.items():
        if span is not None and span < shortest:
            found.append((key, f"must be at least {shortest}, is {span}"))
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
