"""Looking into a real model store, with real graphs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Tradebot
from tests.registry.tiny_model import graph, manifest
from tradebot.registry import ModelKey, ModelStore

KEY = ModelKey("SOLUSDT", "tiny", "5m")


@pytest.fixture
def store(home: Path) -> ModelStore:
    store = ModelStore(home / "model_store")
    for shift, verdict in ((0.0, "promoted"), (0.5, "provisional")):
        model = graph(shift)
        version = store.add(manifest(model, verdict=verdict), {"model.onnx": model})  # type: ignore[arg-type]
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
