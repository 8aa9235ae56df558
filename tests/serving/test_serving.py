from __future__ import annotations

import subprocess
import sys
import threading
from importlib import metadata
from typing import Any

import msgspec
import numpy as np
import onnxruntime
import pytest

from tests.registry.tiny_model import SCHEMA, golden_rows, graph, manifest
from tests.serving.views_model import graph as windows_graph
from tests.serving.views_model import manifest as windows_manifest
from tradebot.errors import ConfigError, ModelError
from tradebot.features.views import view
from tradebot.registry import Artefact, Manifest, ModelKey
from tradebot.serving import Serving
from tradebot.serving import session as session_module
from tradebot.serving.forecaster import load_forecaster

KEY = ModelKey("SOLUSDT", "tiny", "5m")


def artefact(model: bytes, made: Manifest | None = None, version: str = "v0001") -> Artefact:
    return Artefact(key=KEY, version=version, manifest=made or manifest(model), model=model)


def serving(*, allow_provisional: bool = True) -> Serving:
    return Serving(schemas={"candles-5m": SCHEMA}.get, allow_provisional=allow_provisional)


def test_a_forecast_is_what_the_graph_says_for_those_bytes() -> None:
    forecaster = load_forecaster(artefact(graph(0.3)))
    rows = golden_rows(50)
    rows[3, 1] = np.nan
    session = onnxruntime.InferenceSession(graph(0.3), providers=["CPUExecutionProvider"])
    for row in rows:
        probabilities, expected = session.run(["probabilities", "expected_bp"], {"row": row[None, :]})
        forecast = forecaster.forecast(row.tobytes())
        wanted = (expected[0, 0], probabilities[0, 2], probabilities[0, 0])
        np.testing.assert_array_equal(np.array(forecast[:3], dtype=np.float32), np.array(wanted))
        assert forecast.quantiles_bp == ()
    assert forecaster.providers == ("CPUExecutionProvider",)
    assert forecaster.load_ms > 0


def test_a_row_of_the_wrong_length_is_refused() -> None:
    forecaster = load_forecaster(artefact(graph()))
    with pytest.raises(ModelError, match="takes 4 features, got 3"):
        forecaster.forecast(bytes(12))


def test_a_model_that_does_not_reproduce_its_golden_rows_is_not_served() -> None:
    made = manifest(graph(0.0))
    with pytest.raises(ModelError, match="does not reproduce its golden rows"):
        load_forecaster(artefact(graph(1e-4), made))
    golden = msgspec.structs.replace(made.golden, rows=made.golden.rows[:-4])
    with pytest.raises(ModelError, match="golden rows are missing or cut off"):
        load_forecaster(artefact(graph(0.0), msgspec.structs.replace(made, golden=golden)))
    nan = msgspec.structs.replace(made.golden, expected_bp=(float("nan"), *made.golden.expected_bp[1:]))
    with pytest.raises(ModelError, match="golden"):
        load_forecaster(artefact(graph(0.0), msgspec.structs.replace(made, golden=nan)))


def test_bytes_that_are_no_graph_and_graphs_of_another_width_are_one_line() -> None:
    made = manifest(graph())
    for model, reason in ((b"garbage", "cannot load it"), (graph(features=7), "the graph takes")):
        with pytest.raises(ModelError, match=reason) as caught:
            load_forecaster(artefact(model, made))
        assert "\n" not in str(caught.value)


def test_another_schema_and_a_provisional_model_in_live_are_refused() -> None:
    model = graph()
    with pytest.raises(ModelError, match="feature schema"):
        serving().prepare(artefact(model, manifest(model, schema_hash="other")))
    provisional = artefact(model, manifest(model, verdict="provisional"))
    assert serving().prepare(provisional).ref.provisional
    with pytest.raises(ModelError, match="demo and paper only"):
        serving(allow_provisional=False).prepare(provisional)
    for_research = msgspec.structs.replace(manifest(model), research_only="its split is shuffled")
    with pytest.raises(ModelError, match="never serves: its split is shuffled"):
        serving().prepare(artefact(model, for_research))


def test_a_model_of_windows_takes_whole_windows_only_and_is_named_with_its_candles() -> None:
    model = windows_graph((60, len(view("bars-1h").names)))
    made = windows_manifest(model, "bilstm", "bars-1h", steps=60)
    live = Serving(allow_provisional=False)
    forecaster = live.prepare(Artefact(key=made.key, version="v0001", manifest=made, model=model))
    assert (forecaster.ref.name, forecaster.ref.steps, forecaster.tolerance) == ("bilstm-1h", 60, 1e-5)
    width = len(made.inputs.features)
    window = np.random.default_rng(1).normal(size=(60, width)).astype(np.float32)
    probabilities, expected = forecaster.batch(window[None])
    said = forecaster.forecast(window.tobytes())
    assert said == (expected[0], probabilities[0, 2], probabilities[0, 0], ())
    with pytest.raises(ModelError, match=rf"takes 60 rows of {width} features, got {59 * width}"):
        forecaster.forecast(window[1:].tobytes())
    narrow = msgspec.structs.replace(made, inputs=msgspec.structs.replace(made.inputs, row_shape=(30, width)))
    with pytest.raises(ModelError, match=f"its manifest says 30 rows of {width} float32 features"):
        live.prepare(Artefact(key=made.key, version="v0001", manifest=narrow, model=model))
    elsewhere = msgspec.structs.replace(made, inputs=msgspec.structs.replace(made.inputs, view="bars-9h"))
    with pytest.raises(ModelError, match="of bars-9h, this release does not compute it; retrain it"):
        live.prepare(Artefact(key=made.key, version="v0001", manifest=elsewhere, model=model))


def test_a_symbol_without_a_model_says_what_to_do() -> None:
    live = serving()
    assert live.ref("SOLUSDT", "tiny") is None
    with pytest.raises(ModelError, match="tradebot retrain --symbol SOLUSDT"):
        live.forecast("SOLUSDT", "tiny", bytes(16))


def test_a_model_cannot_be_swapped_in_for_another_symbol() -> None:
    live = serving()
    with pytest.raises(ModelError, match="cannot forecast BTCUSDT"):
        live.swap("BTCUSDT", live.prepare(artefact(graph())))


def test_models_of_one_symbol_answer_beside_each_other_and_are_swapped_one_by_one() -> None:
    live, row = serving(), golden_rows(1).tobytes()
    tiny = live.prepare(artefact(graph(0.1)))
    other = live.prepare(artefact(graph(0.9), msgspec.structs.replace(manifest(graph(0.9)), name="other")))
    assert live.swap("SOLUSDT", tiny) is None
    assert live.swap("SOLUSDT", other) is None
    newer = live.prepare(artefact(graph(0.5), version="v0002"))
    assert live.swap("SOLUSDT", newer) == tiny.ref
    answers = {name: live.forecast("SOLUSDT", name, row) for name in ("tiny", "other")}
    assert answers == {"tiny": (newer.ref, newer.forecast(row)), "other": (other.ref, other.forecast(row))}
    assert newer.forecast(row) != other.forecast(row)


def test_every_forecast_during_swaps_names_the_model_that_made_it() -> None:
    live = serving()
    row = golden_rows(1).tobytes()
    forecasters = [live.prepare(artefact(graph(i / 4), version=f"v{i + 1:04d}")) for i in range(4)]
    truth = {f.ref.sha256: f.forecast(row) for f in forecasters}
    assert len({t.expected_bp for t in truth.values()}) == 4
    live.swap("SOLUSDT", forecasters[0])
    seen: list[tuple[str, Any]] = []
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            ref, forecast = live.forecast("SOLUSDT", "tiny", row)
            seen.append((ref.sha256, forecast))

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    previous = []
    for i in range(400):
        before = live.swap("SOLUSDT", forecasters[i % 4])
        assert before is not None
        previous.append(before.sha256)
        if i % 7 == 0:  # a fresh load while others answer
            live.prepare(artefact(graph(i / 100)))
    stop.set()
    for thread in threads:
        thread.join()
    assert len(seen) > 400
    assert all(truth[sha] == forecast for sha, forecast in seen)
    assert len({sha for sha, _ in seen}) == 4
    assert previous[1:] == [forecasters[i % 4].ref.sha256 for i in range(399)]


def test_two_runtime_packages_at_once_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "version", lambda name: "1.31.1")
    with pytest.raises(ConfigError, match="both installed"):
        session_module.open_session(graph())

    def only_gpu(name: str) -> str:
        if name == "onnxruntime":
            raise metadata.PackageNotFoundError(name)
        return "1.31.1"

    monkeypatch.setattr(session_module, "version", only_gpu)
    session_module.open_session(graph())


def test_serving_loads_nothing_that_trains() -> None:
    code = (
        "import sys, tradebot.serving, tradebot.registry, tradebot.jobs;"
        "heavy = {'lightgbm', 'torch', 'optuna', 'onnx', 'onnxmltools', 'pandas', 'sklearn', 'scipy'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
