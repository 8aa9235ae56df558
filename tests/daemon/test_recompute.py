"""Forecasts of the past, asked for again: of the model of that SHA-256, from the row that the replayed engine made."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.daemon.journaled import Journaled
from tests.faults.model import plant
from tests.serving.quantile_model import made
from tests.trading.driver import STRATEGIES
from tradebot.daemon.recompute import Forecasts
from tradebot.daemon.replay import Replayed, replay, verify
from tradebot.events import Command, Event, ForecastReady, RequestForecast
from tradebot.journal import OpenState, open_state
from tradebot.registry import ModelKey, ModelStore
from tradebot.serving.fingerprint import fingerprint
from tradebot.serving.forecaster import Forecaster, load_forecaster

CANDLES = 4
Change = Callable[[ForecastReady], ForecastReady]


class Served(Journaled):
    """A driver whose forecasts come from a model. ``change`` is made to what it said before that is written down."""

    def __init__(self, opened: OpenState, model: Forecaster, runtime: str, change: Change) -> None:
        self._model, self._change = model, change
        self._requests: dict[str, RequestForecast] = {}
        super().__init__(opened, runtime=runtime)

    def send(self, event: Event) -> Sequence[Command]:
        if isinstance(event, ForecastReady):
            said = self._model.forecast(self._requests[event.request_id].row)
            sha256 = self._model.ref.sha256
            event = self._change(msgspec.structs.replace(event, model_sha256=sha256, **said._asdict()))
        commands = super().send(event)
        self._requests |= {c.request_id: c for c in commands if isinstance(c, RequestForecast)}
        return commands


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "store"
    plant(folder, ("SOLUSDT",))
    return folder


def trade(state: Path, store: Path, runtime: str = "", change: Change = lambda told: told) -> list[str]:
    """A run of some candles; the ids of its decisions."""
    key = ModelKey("SOLUSDT", "lightgbm", "5m")
    model = load_forecaster(ModelStore(store).load(key))
    with open_state(state) as opened:
        driver = Served(opened, model, runtime or fingerprint(), change)
        for _ in range(CANDLES):
            driver.forecast(0.0)
        return driver.decided


def nudge(number: int, **by: float) -> Change:
    """Move values of the ``number``-th forecast."""
    seen = 0

    def change(told: ForecastReady) -> ForecastReady:
        nonlocal seen
        seen += 1
        moved: dict[str, Any] = {name: getattr(told, name) + x for name, x in by.items()}
        return msgspec.structs.replace(told, **moved) if seen == number else told

    return change


def only(state: Path, store: Path) -> Replayed:
    reports = list(verify(state, STRATEGIES, store))
    assert len(reports) == 1
    return reports[0]


def test_every_forecast_is_asked_again_and_equal_bit_for_bit(tmp_path: Path, store: Path) -> None:
    trade(tmp_path, store)
    report = only(tmp_path, store)
    assert report.mismatches == 0
    assert report.forecasts == Forecasts(asked=CANDLES, bitwise=True)
    assert not report.differs


def test_one_bit_is_a_difference_under_the_same_processor_and_runtime(tmp_path: Path, store: Path) -> None:
    trade(tmp_path, store, change=nudge(2, p_up=2.0**-30))
    found = only(tmp_path, store)
    assert found.mismatches == 0  # the engine decides on what the journal has
    assert (found.forecasts.asked, found.forecasts.differing) == (CANDLES, 1)
    assert found.forecasts.first.startswith("forecast 1-")
    assert found.differs


@pytest.mark.parametrize(("by", "differing"), [(2.0**-30, 0), (1e-5, 1)])
def test_under_another_runtime_a_tolerance_counts(tmp_path: Path, store: Path, by: float, differing: int) -> None:
    trade(tmp_path, store, runtime="another processor", change=nudge(2, p_up=by))
    found = only(tmp_path, store).forecasts
    assert (found.bitwise, found.asked, found.differing) == (False, CANDLES, differing)


def test_quantiles_are_compared_too(tmp_path: Path) -> None:
    _, artefact = made()
    store = ModelStore(tmp_path / "store")
    version = store.add(artefact.manifest, {"model.onnx": artefact.model})
    store.promote(artefact.key, version, who="test", why="test", verdict="promoted", at_ms=1)

    def moved(by: float) -> Change:
        return lambda told: msgspec.structs.replace(
            told, quantiles_bp=tuple((level, value + by) for level, value in told.quantiles_bp)
        )

    for number, (runtime, by, differing) in enumerate(
        [("", 0.0, 0), ("", 2.0**-20, CANDLES), ("another", 2.0**-20, 0), ("another", 0.01, CANDLES)]
    ):
        state = tmp_path / f"state{number}"
        trade(state, store.root, runtime, moved(by))
        found = only(state, store.root).forecasts
        assert (found.asked, found.differing) == (CANDLES, differing)


def test_a_model_that_is_gone_is_told_as_that(tmp_path: Path, store: Path) -> None:
    own = tmp_path / "store"
    shutil.copytree(store, own)
    trade(tmp_path / "state", own)
    shutil.rmtree(own / "SOLUSDT" / "lightgbm-5m" / "v0001")
    found = only(tmp_path / "state", own)
    assert found.forecasts.asked == 0
    assert not found.differs
    [(reason, count)] = found.forecasts.unasked.items()
    assert reason.startswith("model file gone: SOLUSDT ")
    assert count == CANDLES


def test_a_damaged_model_is_told_and_no_mismatch(tmp_path: Path, store: Path) -> None:
    own = tmp_path / "store"
    shutil.copytree(store, own)
    trade(tmp_path / "state", own)
    graph = own / "SOLUSDT" / "lightgbm-5m" / "v0001" / "model.onnx"
    graph.write_bytes(graph.read_bytes()[:-1] + b"\0")
    found = only(tmp_path / "state", own)
    assert "corrupt" in next(iter(found.forecasts.unasked))
    assert not found.differs


def test_of_one_decision_only_its_own_forecasts_are_asked_again(tmp_path: Path, store: Path) -> None:
    decided = trade(tmp_path, store, change=nudge(2, p_up=2.0**-30))
    for number, differing in ((2, 1), (3, 0)):
        report = replay(tmp_path, STRATEGIES, decided[number - 1], store=store)
        assert (report.forecasts.asked, report.forecasts.differing) == (1, differing)
    assert replay(tmp_path, STRATEGIES, decided[1]).forecasts == Forecasts()
