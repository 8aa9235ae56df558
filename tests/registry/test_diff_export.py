"""Two versions side by side, and a version taken elsewhere."""

from __future__ import annotations

import hashlib
import json
import tarfile
from pathlib import Path

import msgspec
import onnxruntime
import pytest

from tests.registry.tiny_model import golden_rows, graph, manifest
from tradebot.errors import DataError, ModelError
from tradebot.registry import Metric, ModelKey, ModelStore
from tradebot.registry.diff import differences
from tradebot.registry.export import export_version

KEY = ModelKey("SOLUSDT", "tiny", "5m")
MADE = manifest(graph())


def test_a_version_does_not_differ_from_itself() -> None:
    same = differences(MADE, MADE)
    assert (same.changes, same.caution) == ((), "")
    assert [(pair.name, pair.a == pair.b) for pair in same.metrics] == [("move_auc", True)]


def test_what_differs_is_named_with_both_values() -> None:
    lineage = msgspec.structs.replace(MADE.lineage, params={"learning_rate": 0.05, "leaves": 31}, data_sha256="1" * 64)
    other = msgspec.structs.replace(
        MADE,
        lineage=lineage,
        inputs=msgspec.structs.replace(MADE.inputs, features=("a", "b", "c", "e")),
        metrics={"trades": Metric(value=3.0)},
    )
    found = differences(MADE, other)
    assert {(c.section, c.name, c.a, c.b) for c in found.changes} == {
        ("parameters", "learning_rate", "0.1", "0.05"),
        ("parameters", "leaves", None, "31"),
        ("data", "sha256", "0" * 64, "1" * 64),
        ("features", "d", "yes", None),
        ("features", "e", None, "yes"),
    }
    assert [(pair.name, pair.a is None, pair.b is None) for pair in found.metrics] == [
        ("move_auc", False, True), ("trades", True, False)
    ]  # fmt: skip
    assert "each was measured on rows of its own" in found.caution


def test_metrics_of_other_models_or_labels_are_not_held_against_each_other() -> None:
    assert "different models" in differences(MADE, manifest(graph(), symbol="BTCUSDT")).caution
    assert "labels differ" in differences(MADE, msgspec.structs.replace(MADE, options={"horizon": 3})).caution


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    store = ModelStore(tmp_path / "store")
    store.add(MADE, {"model.onnx": graph(), "features.txt": b"a\nb\nc\nd\n", "figures/loss.png": b"\x89PNG"})
    return store


def test_a_folder_holds_the_version_and_its_card_and_is_never_overwritten(store: ModelStore, tmp_path: Path) -> None:
    target = tmp_path / "out" / "model"
    names = export_version(store, KEY, "v0001", target)
    assert names == sorted(p.relative_to(target).as_posix() for p in target.rglob("*") if p.is_file())
    for name, content in store.files(KEY, "v0001").items():
        assert (target / name).read_bytes() == content
    assert "# SOLUSDT/tiny-5m v0001" in (target / "README.md").read_text()
    with pytest.raises(DataError, match="is there already"):
        export_version(store, KEY, "v0001", target)
    assert [p.name for p in target.parent.iterdir()] == ["model"]


@pytest.mark.parametrize("name", ["a.tar", "b.tar.gz", "c.tgz"])
def test_a_tar_file_holds_the_same_and_equal_versions_give_equal_bytes(
    store: ModelStore, tmp_path: Path, name: str
) -> None:
    first, second = tmp_path / "1" / name, tmp_path / "2" / name
    export_version(store, KEY, "v0001", first)
    export_version(store, KEY, "v0001", second)
    assert hashlib.sha256(first.read_bytes()).digest() == hashlib.sha256(second.read_bytes()).digest()
    with tarfile.open(first) as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")
    inside = tmp_path / "unpacked" / "SOLUSDT-tiny-5m-v0001"
    assert (inside / "model.onnx").read_bytes() == graph()
    assert (inside / "figures" / "loss.png").is_file()


def test_the_mlflow_layout_names_a_graph_that_takes_what_its_signature_says(store: ModelStore, tmp_path: Path) -> None:
    target = tmp_path / "mlflow"
    export_version(store, KEY, "v0001", target, mlflow=True)
    made = json.loads((target / "MLmodel").read_text())  # JSON is YAML
    assert made["flavors"]["python_function"]["loader_module"] == "mlflow.onnx"
    session = onnxruntime.InferenceSession(target / made["flavors"]["onnx"]["data"])
    [given] = json.loads(made["signature"]["inputs"])
    assert [given["name"]] == [i.name for i in session.get_inputs()]
    assert given["tensor-spec"] == {"dtype": "float32", "shape": [-1, 4]}
    outputs = json.loads(made["signature"]["outputs"])
    got = session.run([o["name"] for o in outputs], {given["name"]: golden_rows()})
    assert [o["tensor-spec"]["shape"][1] for o in outputs] == [part.shape[1] for part in got]
    assert (target / "tradebot" / "manifest.json").is_file()
    assert (target / "figures" / "loss.png").is_file()


def test_a_version_that_is_not_whole_is_not_exported(store: ModelStore, tmp_path: Path) -> None:
    (store.root / "SOLUSDT" / "tiny-5m" / "v0001" / "features.txt").write_bytes(b"x")
    with pytest.raises(ModelError, match="content differs"):
        export_version(store, KEY, "v0001", tmp_path / "out")
    assert not (tmp_path / "out").exists()
