"""Which models answer for which symbol right now."""

from __future__ import annotations

from tradebot.errors import ModelError
from tradebot.events import ModelRef
from tradebot.registry import Artefact
from tradebot.serving.forecaster import Forecast, Forecaster, load_forecaster


class Serving:
    """Live forecasters by symbol and model name: several models may serve a symbol beside each other.

    A swap is one assignment: a call either gets the old model or the new one, whole, and is told which. ``prepare``
    does the slow part and belongs in a thread. ``allow_provisional`` is False in live mode.
    """

    def __init__(self, *, schema_hash: str, allow_provisional: bool) -> None:
        self._schema_hash = schema_hash
        self._allow_provisional = allow_provisional
        self._live: dict[tuple[str, str], Forecaster] = {}

    def prepare(self, artefact: Artefact) -> Forecaster:
        """Load, self-check and warm a model without touching the one that serves. Raises ModelError."""
        manifest = artefact.manifest
        if manifest.inputs.schema_hash != self._schema_hash:
            raise ModelError(
                f"{artefact.key} {artefact.version}: made for feature schema {manifest.inputs.schema_hash}, "
                f"this release computes {self._schema_hash}; retrain it"
            )
        if artefact.ref.provisional and not self._allow_provisional:
            raise ModelError(
                f"{artefact.key} {artefact.version}: provisional (it has not beaten the baseline net of costs) "
                "and may serve in demo and paper only"
            )
        return load_forecaster(artefact)

    def swap(self, symbol: str, forecaster: Forecaster) -> ModelRef | None:
        """From now on ``forecaster`` answers for ``symbol`` under its model's name. Gives the version it replaces.
        Raises ModelError."""
        if forecaster.ref.symbol != symbol:
            raise ModelError(f"a model of {forecaster.ref.symbol} cannot forecast {symbol}")
        key = (symbol, forecaster.ref.name)
        previous = self._live.get(key)
        self._live[key] = forecaster
        return previous.ref if previous is not None else None

    def ref(self, symbol: str, model: str) -> ModelRef | None:
        """The version of ``model`` that serves ``symbol``, or None."""
        forecaster = self._live.get((symbol, model))
        return forecaster.ref if forecaster is not None else None

    def forecaster(self, symbol: str, model: str) -> Forecaster:
        """The live forecaster of ``model`` for ``symbol``. Hold on to it when a forecast and its model must match."""
        try:
            return self._live[symbol, model]
        except KeyError:
            why = f"no version of {model} serves {symbol}; train one with `tradebot retrain --symbol {symbol}`"
            raise ModelError(why) from None

    def forecast(self, symbol: str, model: str, row: bytes) -> tuple[ModelRef, Forecast]:
        """``model``'s forecast for ``symbol`` and the exact version that made it. Raises ModelError."""
        forecaster = self.forecaster(symbol, model)
        return forecaster.ref, forecaster.forecast(row)
