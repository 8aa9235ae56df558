"""Two ONNX models of one symbol through real serving: the engine asks both, the strategy sees both."""

from __future__ import annotations

import msgspec
import numpy as np
import onnxruntime
import pytest

from tests.registry.tiny_model import graph, manifest
from tests.trading.driver import BAR, Driver, decision, of, only
from tradebot.events import Decision, ForecastFailed, ForecastReady, ModelSwapped, PlaceOrder, RequestForecast
from tradebot.features.catalogue import NAMES, SCHEMA_HASH
from tradebot.registry import Artefact, Golden, Inputs, ModelKey
from tradebot.serving import Serving
from tradebot.serving.answer import answer
from tradebot.trading.strategy import Intent, Strategy, View

ORDER = ("tree", "linear")


class Both(Strategy):
    """Says what it was shown, and enters when both models point up."""

    def on_forecast(self, view: View, forecast: ForecastReady) -> Intent:
        seen = {name: f.expected_bp for name, f in view.forecasts.items()}
        agreed = len(seen) == 2 and all(bp > 0 for bp in seen.values())
        return Intent("enter_long" if agreed else "hold", repr(seen))


def artefact(name: str, shift: float, version: str = "v0001") -> Artefact:
    """A model of the catalogue's features."""
    model = graph(shift, features=len(NAMES))
    rows = np.random.default_rng(5).normal(size=(4, len(NAMES))).astype(np.float32)
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    probabilities, expected = session.run(["probabilities", "expected_bp"], {"row": rows})
    made = msgspec.structs.replace(
        manifest(graph(shift), schema_hash=SCHEMA_HASH),
        name=name,
        sha256=f"{name}-{version}",
        horizon_ms=2 * BAR,
        inputs=Inputs(
            tensor="row", features=NAMES, schema_hash=SCHEMA_HASH, interval="5m", row_shape=(len(NAMES),)
        ),
        golden=Golden(
            count=len(rows),
            rows=rows.tobytes(),
            probabilities=tuple(tuple(float(p) for p in row) for row in probabilities),
            expected_bp=tuple(float(bp) for bp in expected[:, 0]),
        ),
    )  # fmt: skip
    return Artefact(key=ModelKey("SOLUSDT", name, "5m"), version=version, manifest=made, model=model)


def served(**shifts: float) -> tuple[Serving, Driver]:
    """An engine that asks ``ORDER`` and a serving in which the named models serve."""
    serving = Serving(allow_provisional=True)
    d = Driver(Both, params={}, models=ORDER)
    d.engine.symbols["SOLUSDT"].models = {}  # the driver's own model has no graph
    for name, shift in shifts.items():
        swap(serving, d, artefact(name, shift))
    return serving, d


def swap(serving: Serving, d: Driver, made: Artefact) -> None:
    forecaster = serving.prepare(made)
    serving.swap("SOLUSDT", forecaster)
    d.send(ModelSwapped(ref=forecaster.ref))


def candle(serving: Serving, d: Driver) -> tuple[list[ForecastReady], Decision, list[PlaceOrder]]:
    """Close a candle and answer what the engine asks for, as the sequencer does."""
    commands = list(d.candle())
    answers = [answer(serving, request) for request in of(commands, RequestForecast)]
    for event in answers:
        commands += d.send(event)
    return [a for a in answers if isinstance(a, ForecastReady)], decision(commands), of(commands, PlaceOrder)


def test_both_answer_each_candle_in_configured_order() -> None:
    serving, d = served(linear=0.3, tree=-0.2)
    forecasts, made, _ = candle(serving, d)
    assert [f.model for f in forecasts] == ["tree", "linear"]
    assert forecasts[0].expected_bp != forecasts[1].expected_bp
    assert made.reason == repr({f.model: f.expected_bp for f in forecasts})
    assert [(a.model, a.sha256, a.expected_bp) for a in made.models] == [
        (f.model, f"{f.model}-v0001", f.expected_bp) for f in forecasts
    ]
    for forecast, shift in zip(forecasts, (-0.2, 0.3), strict=True):
        session = onnxruntime.InferenceSession(graph(shift, features=len(NAMES)), providers=["CPUExecutionProvider"])
        row = np.array(d.engine.symbols["SOLUSDT"].values(d.engine.leaders), dtype=np.float32)
        assert forecast.expected_bp == pytest.approx(
            float(session.run(["expected_bp"], {"row": row[None, :]})[0][0, 0])
        )


@pytest.mark.parametrize(("tree", "linear"), [(5.0, 5.0), (5.0, -5.0), (-5.0, -5.0)])
def test_an_entry_needs_what_the_strategy_says_and_names_both_models(tree: float, linear: float) -> None:
    serving, d = served(tree=tree, linear=linear)
    forecasts, made, orders = candle(serving, d)
    row = d.engine.symbols["SOLUSDT"].values(d.engine.leaders) or ()
    up = np.nansum(row) > 0  # a shift leans the way of the features' sum
    assert [f.expected_bp > 0 for f in forecasts] == [(shift > 0) == up for shift in (tree, linear)]
    agreed = all(f.expected_bp > 0 for f in forecasts)
    assert made.action == ("enter_long" if agreed else "hold")
    assert len(orders) == agreed
    assert {a.model for a in made.models} == set(ORDER)


def test_one_model_is_swapped_and_the_other_goes_on() -> None:
    serving, d = served(tree=0.1, linear=0.3)
    before, _, _ = candle(serving, d)
    swap(serving, d, artefact("linear", 0.9, "v0002"))
    after, made, _ = candle(serving, d)
    assert [(f.model, f.version) for f in before] == [("tree", "v0001"), ("linear", "v0001")]
    assert [(f.model, f.version) for f in after] == [("tree", "v0001"), ("linear", "v0002")]
    assert [a.version for a in made.models] == ["v0001", "v0002"]


def test_a_model_that_serving_does_not_have_is_missing_and_the_other_decides() -> None:
    serving, d = served(tree=0.1)
    d.send(ModelSwapped(ref=artefact("linear", 0.3).ref))  # told, and gone since
    requests = of(d.candle(), RequestForecast)
    events = [answer(serving, request) for request in requests]
    assert isinstance(events[1], ForecastFailed)
    assert "no version of linear serves SOLUSDT" in events[1].reason
    d.send(events[0])
    made = only(d.send(events[1]), Decision)
    assert "without linear (forecast failed: no version of linear serves SOLUSDT" in made.reason
    assert [bool(a.missing) for a in made.models] == [False, True]
