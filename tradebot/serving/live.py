"""Which model answers for which symbol right now."""

from __future__ import annotations

from tradebot.errors import ModelError
from tradebot.events import ModelRef
from tradebot.registry import Artefact
from tradebot.serving.forecaster import Forecast, Forecaster, load_forecaster


class Serving:
    """Live forecasters by symbol.

    A swap is one assignment: a call either gets the old model or the new one, whole, and is told which. ``prepare``
    does the slow part and belongs in a thread. ``allow_provisional`` is False in live mode.
    """

    def __init__(self, *, schema_hash: str, allow_provisional: bool) -> None:
        self._schema_hash = schema_hash
        self._allow_provisional = allow_provisional
        self._live: dict[str, Forecaster] = {}

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
        """From now on ``symbol`` is forecast by ``forecaster``. Gives the model it replaces. Raises ModelError."""
        if forecaster.ref.symbol != symbol:
            raise ModelError(f"a model of {forecaster.ref.symbol} cannot forecast {symbol}")
        previous = self._live.get(symbol)
        self._live[symbol] = forecaster
        return previous.ref if previous is not None else None

    def ref(self, symbol: str) -> ModelRef | None:
        """The model that serves ``symbol``, or None."""
        forecaster = self._live.get(symbol)
        return forecaster.ref if forecaster is not None else None

    def forecaster(self, symbol: str) -> Forecaster:
        """The live forecaster of ``symbol``. Hold on to it when a forecast and its model must match."""
        try:
            return self._live[symbol]
        except KeyError:
            raise ModelError(f"no model serves {symbol}; train one with `tradebot retrain --symbol {symbol}`") from None

    def forecast(self, symbol: str, row: bytes) -> tuple[ModelRef, Forecast]:
        """Forecast for ``symbol`` and the exact model that made it. Raises ModelError."""
        forecaster = self.forecaster(symbol)
        return forecaster.ref, forecaster.forecast(row)
