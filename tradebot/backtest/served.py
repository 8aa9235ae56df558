"""The models that served another run, serving again from the same moments on: nothing is trained twice."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path

from tradebot.backtest.playback import Playback, Retraining
from tradebot.backtest.run import ModelUsed
from tradebot.data.columns import utc
from tradebot.errors import ModelError
from tradebot.events import ModelSwapped, split_model
from tradebot.jobs import JobResult
from tradebot.registry import ModelKey, ModelStore
from tradebot.sim.source import MarketSource


class ServedBefore:
    """A run's models without its training. ``models`` are versions in the store at ``folder``."""

    def __init__(self, folder: Path, models: Sequence[ModelUsed], settings_hash: str) -> None:
        self._store = ModelStore(folder)
        self._models = sorted(models, key=lambda model: model.since_ms)
        self._hash = settings_hash
        self._folder = folder

    def again(self) -> ServedBefore:
        """The same for another run: one serves one run."""
        return ServedBefore(self._folder, self._models, self._hash)

    @property
    def results(self) -> Sequence[JobResult]:
        return ()

    @property
    def settings_hash(self) -> str:
        return self._hash

    async def prepare(self, sources: Sequence[MarketSource]) -> bool:
        """There is nothing to train."""
        return True

    def attach(self, playback: Playback) -> tuple[Callable[[], Awaitable[None]], Retraining]:
        """What makes those serve that do at the start, and what swaps in the others. Raises ModelError when run."""
        swaps = _Swaps(self._store, self._models, playback)
        return swaps.tick, swaps


def foresight(folder: Path, models: Sequence[ModelUsed], interval: str) -> tuple[str, ...]:
    """Which models had seen prices of later than the moment they began to serve, in words. Raises ModelError."""
    store = ModelStore(folder)
    found = []
    for model in models:
        key = _key(store, model, interval)
        lineage = store.manifest(key, model.version).lineage
        if max(lineage.fit_end_ms, lineage.judged_to_ms) > model.since_ms:
            found.append(
                f"{model.symbol} {model.name} {model.version} was chosen on prices up to "
                f"{utc(max(lineage.fit_end_ms, lineage.judged_to_ms))} and serves from {utc(model.since_ms)} on: "
                "it knows what it is asked to foretell"
            )
    return tuple(found)


def _key(store: ModelStore, model: ModelUsed, interval: str) -> ModelKey:
    """Where ``model`` lies. A record from when a family named alone read the candles of the decisions may mean those,
    which its SHA-256 tells."""
    key, former = (
        ModelKey(model.symbol, *name) for name in (split_model(model.name, interval), (model.name, interval))
    )
    if former != key and model.version in store.versions(former):
        with suppress(ModelError):
            if store.manifest(former, model.version).sha256 == model.sha256:
                return former
    return key


class _Swaps:
    def __init__(self, store: ModelStore, models: Sequence[ModelUsed], playback: Playback) -> None:
        self._store = store
        self._left = deque(models)
        self._playback = playback

    def next_due_ms(self) -> int | None:
        return self._left[0].since_ms if self._left else None

    async def close(self) -> None:
        """Nothing runs beside it."""

    async def tick(self) -> None:
        now_ms = self._playback.clock.now_ms()
        while self._left and self._left[0].since_ms <= now_ms:
            model = self._left.popleft()
            if model.symbol not in self._playback.config.symbols:
                continue
            key = _key(self._store, model, self._playback.config.interval)
            forecaster = self._playback.serving.prepare(self._store.load(key, model.version))
            self._playback.serving.swap(model.symbol, forecaster)
            self._playback.put(ModelSwapped(ref=forecaster.ref, reason="back-test"))
