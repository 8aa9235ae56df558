"""The champions of a model store, serving a back-test as they are."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from pathlib import Path

from tradebot.errors import ModelError
from tradebot.events import EngineConfig, Event, ModelSwapped, split_model
from tradebot.registry import ModelKey, ModelStore
from tradebot.serving import Serving


class Champions:
    """Loads the models of each symbol that ``config`` asks (``model`` where it names none) and tells ``put``."""

    def __init__(self, serving: Serving, put: Callable[[Event], None], model: str, config: EngineConfig) -> None:
        self._serving = serving
        self._put = put
        self._names = config.models or (model,)
        self._config = config

    def load(self, folder: Path) -> None:
        """Let the champions of ``folder`` serve. Raises ModelError when a symbol has none, or one that cannot."""
        store = ModelStore(folder)
        for symbol, name in product(self._config.symbols, self._names):
            key = ModelKey(symbol, *split_model(name, self._config.interval))
            champion = store.champion(key)
            if champion is None:
                known = store.keys()
                there = ", ".join(str(one) for one in known if one.symbol == symbol and store.champion(one))
                raise ModelError(
                    f"{folder}: no model of {key} has been promoted (of {symbol}: {there or 'none'}); "
                    f"train one: tradebot train --symbol {symbol} --model {key.name}-{key.interval} --out {folder}"
                )
            forecaster = self._serving.prepare(store.load(key))
            self._serving.swap(symbol, forecaster)
            self._put(ModelSwapped(ref=forecaster.ref, reason="back-test"))
