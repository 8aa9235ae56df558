"""Which models answer for which symbol right now."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from tradebot.errors import ModelError
from tradebot.events import ModelRef, model_name
from tradebot.registry import Artefact
from tradebot.serving.forecaster import Forecast, Forecaster, load_forecaster


def schema_of(view: str) -> str | None:
    """Schema of the features that this release computes under a view's name; None for a view that it does not have."""
    from tradebot.features.views import VIEWS  # brings a compiler along, which asking a loaded model does not need

    return VIEWS[view].schema_hash if view in VIEWS else None


def require_schema(artefact: Artefact, schemas: Callable[[str], str | None] = schema_of) -> None:
    """Raises ModelError for a model of features that this release does not compute."""
    inputs = artefact.manifest.inputs
    computed = schemas(inputs.view)
    if inputs.schema_hash != computed:
        told = f"computes {computed}" if computed else "does not compute it"
        raise ModelError(
            f"{artefact.key} {artefact.version}: made for feature schema {inputs.schema_hash} of {inputs.view}, "
            f"this release {told}; retrain it"
        )


def compile_view(view: str) -> None:
    """Have what computes the rows of a view compiled: it takes seconds once a release, and a closed candle has none."""
    from tradebot.features.views import VIEWS

    if view in VIEWS:
        VIEWS[view].kernel()


class Serving:
    """Live forecasters by symbol and model name: several models may serve a symbol beside each other.

    ``interval`` is that of the decisions: a model of other candles is named with theirs (``events.model_name``).
    ``schemas``: schema of the features computed under a view's name.

    A swap is one assignment: a call either gets the old model or the new one, whole, and is told which. ``prepare``
    does the slow part and belongs in a thread. ``allow_provisional`` is False in live mode.
    """

    def __init__(
        self, *, allow_provisional: bool, interval: str = "5m", schemas: Callable[[str], str | None] = schema_of
    ) -> None:
        self._schemas = schemas
        self._interval = interval
        self._allow_provisional = allow_provisional
        self._live: dict[tuple[str, str], Forecaster] = {}

    def prepare(self, artefact: Artefact) -> Forecaster:
        """Load, self-check and warm a model without touching the one that serves. Raises ModelError."""
        ref = artefact.ref
        require_schema(artefact, self._schemas)
        if artefact.manifest.research_only:
            why = artefact.manifest.research_only
            raise ModelError(f"{artefact.key} {artefact.version}: is for research only and never serves: {why}")
        if ref.provisional and not self._allow_provisional:
            raise ModelError(
                f"{artefact.key} {artefact.version}: provisional (it has not beaten the baseline net of costs) "
                "and may serve in demo and paper only"
            )
        compile_view(ref.view)
        name = model_name(ref.name, ref.interval, self._interval)
        return load_forecaster(artefact, ref=msgspec.structs.replace(ref, name=name))

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
