"""Events about the run itself: beginning and end, clock, timers, models, people."""

from __future__ import annotations

from typing import Literal

from tradebot.events.base import OperatorAction, Record
from tradebot.events.settings import EngineConfig, ModelRef
from tradebot.events.state import DurableState


class Booted(Record, frozen=True, kw_only=True, tag="booted"):
    """First event of every run: the configuration and the hashes that every decision of this run names.

    ``fingerprint`` is what the last bit of a forecast depends on besides model and row (processor, runtime); empty in
    records of earlier releases.
    """

    epoch: int
    config: EngineConfig
    settings_hash: str
    engine_hash: str
    strategy_hash: str
    fingerprint: str = ""


class Restored(Record, frozen=True, kw_only=True, tag="restored"):
    """State carried over from the journal of the previous run."""

    state: DurableState


class ClockMeasured(Record, frozen=True, kw_only=True, tag="clock"):
    """Difference between the exchange's clock and the bot's, ms (exchange − local), before correction."""

    offset_ms: int


class ForecastReady(Record, frozen=True, kw_only=True, tag="forecast"):
    """A forecast for the close at ``as_of_ms``.

    ``expected_bp`` is the expected return to ``as_of_ms + horizon_ms`` in bp; ``row_hash`` the first 16 hex digits of
    the SHA-256 of the float32 feature row it was computed from. ``quantiles_bp``: (level, return in bp) pairs of a
    model that gives quantiles, by rising level.
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
    quantiles_bp: tuple[tuple[float, float], ...] = ()


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


class StrategyStalled(Record, frozen=True, kw_only=True, tag="strategy_stalled"):
    """A hook of the strategy, asked about ``symbol``, kept the engine for ``took_ms`` of processor time, longer than
    ``limit_ms``. The shell measures it: the engine has no clock."""

    hook: Literal["on_forecast", "on_candle", "on_book", "on_fill", "on_disconnect", "on_timer"]
    symbol: str
    took_ms: int
    limit_ms: int


class TimerFired(Record, frozen=True, kw_only=True, tag="timer"):
    """A moment the engine asked to be woken at."""

    name: str
    due_ms: int


class UniverseChanged(Record, frozen=True, kw_only=True, tag="universe"):
    """From this event on, entries are made in ``symbols`` and in no other; ``reason`` says why each came or went."""

    symbols: tuple[str, ...]
    reason: str = ""


class OperatorActed(Record, frozen=True, kw_only=True, tag="operator"):
    """A person or an external guard asked for something. ``symbol`` is empty for all."""

    action: OperatorAction
    actor: str
    symbol: str = ""
    reason: str = ""


class Leaving(Record, frozen=True, kw_only=True, tag="leaving"):
    """The daemon is about to end: working entries are cancelled; positions and their stops stay."""
