"""What a running bot tells about itself: one plain dict, for the terminal view, ``tradebot status`` and tests.

Built by the daemon off the hot path, a few times a second at most. Plain numbers and text only, so that it goes
through JSON unchanged; every key may be absent while it is not known. Times are ms since the epoch (UTC) of the
exchange's clock; prices and amounts are USDT, sizes base coin.
"""

from __future__ import annotations

from typing import Literal, TypedDict

from tradebot.events import Tradability
from tradebot.shell.result import CountsSnapshot, StoppedSnapshot


class SymbolSnapshot(TypedDict, total=False):
    """One symbol: market, position, model. ``imbalance`` is (bid - ask) / (bid + ask) over the book rows shown."""

    symbol: str
    price: float
    change_bp: float
    """Move since the run began."""
    mark: float
    bids: list[tuple[float, float]]
    """Best first: price, size."""
    asks: list[tuple[float, float]]
    imbalance: float
    feed_ok: bool
    feed_reason: str
    book_age_ms: int
    position_qty: float
    """Signed; long > 0."""
    dust: bool
    """The position is too small for an order, or lies between two lots: only a flash close takes it."""
    entry_price: float
    unrealised: float
    exchange_qty: float
    """What the exchange says is held, where its last whole view and our executions differ."""
    stop_price: float
    """Of the stop that the exchange was last seen to have for the position; absent when it has none."""
    model: str
    model_version: str
    models: list[ModelSnapshot]
    """All that serve the symbol, the one above among them."""
    provisional: bool
    """The model has not beaten the baseline net of costs."""


class ModelSnapshot(TypedDict, total=False):
    """A model that serves a symbol."""

    model: str
    version: str
    since_ms: int
    """When that version began to serve the symbol in this run."""


class SignalSnapshot(TypedDict, total=False):
    """One decision."""

    decision_id: str
    ts_ms: int
    symbol: str
    action: str
    verdict: str
    reason: str
    blocked_by: str
    """Names of the checks that blocked it, comma separated."""
    expected_bp: float | None
    qty: float
    model: str
    version: str
    provisional: bool


class JobSnapshot(TypedDict, total=False):
    """One retrain job under way, or the last one that ended. ``eta_s`` is wall time left."""

    id: str
    symbol: str
    model: str
    state: Literal["pending", "running", "done"]
    stage: str
    done: int
    total: int
    message: str
    elapsed_s: float
    eta_s: float | None
    verdict: str
    reason: str


class Snapshot(TypedDict, total=False):
    """The whole bot now."""

    mode: str
    source: str
    """The market in words, e.g. a file's name or ``MADE-UP market, seed 7: signal planted``."""
    phase: str
    """What it is doing: starting, training, trading, waiting for a retrain, stopping, in words."""
    symbols: list[SymbolSnapshot]
    signals: list[SignalSnapshot]
    """Newest first."""
    jobs: list[JobSnapshot]
    next_retrain_ms: int
    equity: float
    start_equity: float
    realised: float
    fees: float
    funding: float
    tradability: Tradability
    halt_reason: str
    stopped: list[StoppedSnapshot]
    """What is not ours, by symbol: entries have stopped until each is adopted or ignored."""
    obstacles: list[str]
    """Why an entry would not be made now, in words, whatever the strategy says."""
    from_ms: int
    now_ms: int
    to_ms: int
    """End of the run, if it has one."""
    speed: str
    """As asked for: a factor, ``max``, or absent on a real exchange."""
    rate: float
    """Exchange seconds per wall second since trading began."""
    wall_s: float
    """Wall time since the command was started."""
    pid: int
    version: str
    ready: bool
    metrics_port: int
    """Where the metrics endpoint listens, if there is one."""
    health: dict[str, float | dict[str, float]]
    """Every metric by name, see :mod:`tradebot.daemon.metrics`."""
    counts: CountsSnapshot
