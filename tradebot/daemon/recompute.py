"""Asking the models of the past again: the second check of a replay, beside the decisions themselves."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence

import msgspec

from tradebot.errors import ModelError
from tradebot.events import Command, Decision, Event, ForecastReady, RequestForecast
from tradebot.registry import ModelKey, ModelStore
from tradebot.serving import Forecast, Forecaster
from tradebot.serving.forecaster import TOLERANCE, load_forecaster
from tradebot.trading.engine import Engine


class Forecasts(msgspec.Struct, frozen=True, kw_only=True):
    """What asking the models again came to.

    ``asked`` forecasts were computed again from the row that the replayed engine made; ``differing`` of them are not
    what the journal has (``first`` describes the first of these). ``bitwise``: every bit was compared, because
    processor and runtime are those of the run; else probabilities of trees may differ by ``tolerance``, those of nets
    by ten times as much, and expected returns by so much of 100 bp (or of themselves, where that is more). ``unasked``
    counts those whose model could not be asked, by reason.
    """

    asked: int = 0
    differing: int = 0
    first: str = ""
    bitwise: bool = False
    tolerance: float = TOLERANCE
    unasked: dict[str, int] = {}


class Models:
    """Models of a store by the SHA-256 of their graph, each loaded and proven on its golden rows once."""

    def __init__(self, store: ModelStore) -> None:
        self._store = store
        self._places: dict[str, tuple[ModelKey, str]] | None = None
        self._loaded: dict[str, Forecaster | str] = {}

    def find(self, forecast: ForecastReady) -> Forecaster | str:
        """The model that made ``forecast``, or why it cannot be asked."""
        sha256 = forecast.model_sha256
        if sha256 not in self._loaded:
            self._loaded[sha256] = self._load(forecast)
        return self._loaded[sha256]

    def _load(self, forecast: ForecastReady) -> Forecaster | str:
        if self._places is None:
            listings = self._store.listings()
            self._places = {x.manifest.sha256: (x.key, x.version) for x in listings if x.manifest is not None}
        place = self._places.get(forecast.model_sha256)
        name = f"{forecast.symbol} {forecast.model} {forecast.version} ({forecast.model_sha256[:12]})"
        if place is None:
            return f"model file gone: {name} is not in {self._store.root}"
        try:
            return load_forecaster(self._store.load(*place))
        except ModelError as error:
            return f"{name}: {error}"


class Recomputing:
    """An engine whose forecasts are computed again as it is replayed.

    With ``decision_id`` only those that this decision was made on. ``on_event`` hears the time of every event.
    """

    def __init__(
        self,
        engine: Engine,
        models: Models,
        *,
        bitwise: bool,
        decision_id: str | None = None,
        on_event: Callable[[int], None] = lambda ts_ms: None,
    ) -> None:
        self._engine = engine
        self._models = models
        self._bitwise = bitwise
        self._decision_id = decision_id
        self._on_event = on_event
        self._rows: dict[str, dict[str, tuple[int, bytes]]] = {}
        """By symbol and request: the close that is forecast, and the row."""
        self._heard: dict[str, list[tuple[ForecastReady, bytes | None]]] = {}
        """By symbol: what came since its last decision."""
        self._asked = self._differing = 0
        self._first = ""
        self._unasked: dict[str, int] = {}

    def handle(self, ts_ms: int, event: Event) -> Sequence[Command]:
        """As the engine does."""
        self._on_event(ts_ms)
        if isinstance(event, ForecastReady):
            request = self._rows.get(event.symbol, {}).get(event.request_id)
            self._heard.setdefault(event.symbol, []).append((event, request[1] if request else None))
        commands = self._engine.handle(ts_ms, event)
        for command in commands:
            if isinstance(command, RequestForecast):
                rows = self._rows.setdefault(command.symbol, {})
                for old in [name for name, (as_of_ms, _) in rows.items() if as_of_ms < command.as_of_ms]:
                    del rows[old]
                rows[command.request_id] = command.as_of_ms, command.row
            elif isinstance(command, Decision):
                heard = self._heard.pop(command.symbol, [])
                if self._decision_id in (None, command.decision_id):
                    self._check(heard)
        return commands

    def result(self) -> Forecasts:
        """What was found so far; forecasts that came too late for any decision included."""
        if self._decision_id is None:
            for heard in self._heard.values():
                self._check(heard)
            self._heard.clear()
        return Forecasts(
            asked=self._asked,
            differing=self._differing,
            first=self._first,
            bitwise=self._bitwise,
            unasked=dict(sorted(self._unasked.items())),
        )

    def _check(self, heard: list[tuple[ForecastReady, bytes | None]]) -> None:
        for recorded, row in heard:
            model = self._models.find(recorded)
            if isinstance(model, str):
                self._unasked[model] = self._unasked.get(model, 0) + 1
                continue
            self._asked += 1
            told = Forecast(recorded.expected_bp, recorded.p_up, recorded.p_down, recorded.quantiles_bp)
            again = model.forecast(row) if row is not None else None
            if again is None or not self._equal(told, again, model.tolerance):
                self._differing += 1
                what = f"recorded {told}, now {again}" if again is not None else "replay asks for no such forecast"
                self._first = self._first or f"forecast {recorded.request_id} of {recorded.symbol}: {what}"

    def _equal(self, told: Forecast, again: Forecast, tolerance: float) -> bool:
        if [level for level, _ in told.quantiles_bp] != [level for level, _ in again.quantiles_bp]:
            return False
        if self._bitwise:
            return _bits(told) == _bits(again)
        pairs = zip(told.quantiles_bp, again.quantiles_bp, strict=True)
        return (
            all(abs(then - now) <= tolerance * max(100.0, abs(then)) for (_, then), (_, now) in pairs)
            and abs(told.p_up - again.p_up) <= tolerance
            and abs(told.p_down - again.p_down) <= tolerance
            and abs(told.expected_bp - again.expected_bp) <= tolerance * max(100.0, abs(told.expected_bp))
        )


def _bits(forecast: Forecast) -> bytes:
    values = (*forecast[:3], *(value for _, value in forecast.quantiles_bp))
    return struct.pack(f"<{len(values)}d", *values)
