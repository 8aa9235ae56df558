"""Looking into a real model store, with real graphs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import msgspec
import pytest

from tests.cli.conftest import Tradebot
from tests.registry.tiny_model import graph, manifest
from tradebot.features.catalogue import SCHEMA_HASH
from tradebot.registry import ModelKey, ModelStore

KEY = ModelKey("SOLUSDT", "tiny", "5m")


@pytest.fixture
def store(home: Path) -> ModelStore:
    store = ModelStore(home / "model_store")
    for shift, verdict in ((0.0, "promoted"), (0.5, "provisional")):
        model = graph(shift)
        made = manifest(model, verdict=verdict, schema_hash=SCHEMA_HASH)  # type: ignore[arg-type]
        version = store.add(made, {"model.onnx": model})
        store.promote(KEY, version, who="tester", why="because", verdict=verdict, at_ms=5_000)
    return store


def test_list_shows_which_version_serves_and_which_did(tradebot: Tradebot, store: ModelStore) -> None:
    rows = [json.loads(line) for line in tradebot("models", "list", "--json").out.splitlines()]
    assert [(r["version"], r["champion"], r["previous"], r["provisional"]) for r in rows] == [
        ("v0001", False, True, False), ("v0002", True, False, True),
    ]  # fmt: skip
    assert "champion (provisional)" in tradebot("models", "list").out


def test_show_takes_the_champion_of_the_only_model(tradebot: Tradebot, store: ModelStore) -> None:
    text = tradebot("models", "show").out
    assert "SOLUSDT/tiny-5m v0002  serves" in text
    assert "PROVISIONAL" in text
    assert "promote by tester: because" in text
    assert json.loads(tradebot("models", "show", "SOLUSDT", "v0001", "--json").out)["version"] == "v0001"


@pytest.mark.parametrize(
    ("argv", "part"),
    [
        (["BTCUSDT/tiny-5m"], "no model BTCUSDT/tiny-5m (known: SOLUSDT/tiny-5m)"),
        (["SOLUSDT", "v0009"], "there is no version 'v0009'"),
        (["nonsense"], "'nonsense' does not name a model"),
    ],
)
def test_an_unknown_model_or_version_is_named(
    tradebot: Tradebot, store: ModelStore, argv: list[str], part: str
) -> None:
    done = tradebot("models", "show", *argv)
    assert done.code == 65
    assert part in done.err


def test_verify_loads_every_version_and_finds_a_flipped_byte(tradebot: Tradebot, store: ModelStore) -> None:
    done = tradebot("models", "verify", "--json")
    assert (done.code, [json.loads(line)["ok"] for line in done.out.splitlines()]) == (0, [True, True])
    path = store.root / "SOLUSDT" / "tiny-5m" / "v0001" / "model.onnx"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    done = tradebot("models", "verify", "--json")
    assert done.code == 65
    rows = [json.loads(line) for line in done.out.splitlines()]
    assert [row["ok"] for row in rows] == [False, True]
    assert "differs from its recorded sha256" in rows[0]["problem"]
    assert done.err == "tradebot: 1 of 2 versions cannot serve\n"
    assert tradebot("doctor").code == 1


def test_verify_names_what_this_release_cannot_serve(tradebot: Tradebot, store: ModelStore) -> None:
    model = graph(0.7)
    store.add(manifest(model), {"model.onnx": model})  # of another feature schema
    made = manifest(model, schema_hash=SCHEMA_HASH)
    old = msgspec.structs.replace(made, lineage=msgspec.structs.replace(made.lineage, libraries={"onnxruntime": "0.9"}))
    store.add(old, {"model.onnx": model})
    done = tradebot("models", "verify", "--json")
    rows = [json.loads(line) for line in done.out.splitlines()]
    assert (done.code, [row["ok"] for row in rows]) == (65, [True, True, False, False])
    assert "made for feature schema feedface" in rows[2]["problem"]
    assert "made with onnxruntime 0.9" in rows[3]["problem"]
    assert done.err == "tradebot: 2 of 4 versions cannot serve\n"


def test_a_pointer_that_cannot_be_followed_is_told_by_verify_list_and_doctor(
    tradebot: Tradebot, store: ModelStore
) -> None:
    folder = store.root / "SOLUSDT" / "tiny-5m"
    sound = (folder / "champion.json").read_bytes()
    (folder / "champion.json").write_bytes(sound[:20])
    done = tradebot("models", "verify", "--json")
    rows = [json.loads(line) for line in done.out.splitlines()]
    assert [(row["version"], row["ok"]) for row in rows] == [("v0001", True), ("v0002", True), ("champion", False)]
    assert "champion pointer is unreadable" in rows[2]["problem"]
    assert (done.code, done.err) == (65, "tradebot: which version serves cannot be told\n")
    listed = tradebot("models", "list")
    assert listed.code == 0
    assert "champion pointer is unreadable" in listed.out
    assert listed.out.count("unknown") == 2
    for line in tradebot("models", "list", "--json").out.splitlines():
        assert "champion pointer is unreadable" in json.loads(line)["pointer_problem"]
    assert tradebot("doctor").code == 1

    (folder / "champion.json").write_bytes(sound)
    assert tradebot("models", "verify").code == 0
    shutil.rmtree(folder / "v0002")
    done = tradebot("models", "verify")
    assert done.code == 65
    assert "names v0002, which is not there" in done.out


def test_without_a_model_the_way_to_one_is_named(tradebot: Tradebot, home: Path) -> None:
    for command in ("list", "show", "verify"):
        done = tradebot("models", command)
        assert (done.code, done.out) == (65, "")
        assert done.err == "tradebot: model_store: there is no model yet; 'tradebot retrain' trains one\n"
    assert list(home.iterdir()) == []
    (home / "model_store").mkdir()
    assert tradebot("models", "list").code == 65


def test_the_demos_models_are_found_by_its_state(tradebot: Tradebot, store: ModelStore, home: Path) -> None:
    (home / "state" / "demo").mkdir(parents=True)
    store.root.rename(home / "state" / "demo" / "model_store")
    done = tradebot("models", "list")
    assert done.code == 65
    assert done.err == ("tradebot: model_store: there is no model yet; to look at the demo add: --state state/demo\n")
    for command in ("list", "show", "verify"):
        assert tradebot("models", command, "--state", "state/demo").code == 0
    assert tradebot("models", "list", "--state", "state/demo", "--store", "x").code == 2
