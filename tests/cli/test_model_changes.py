"""Moving pointers, comparing, exporting and uploading from the command line, with real graphs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from tests.cli.conftest import Tradebot
from tests.registry.fake_hub import TOKEN, FakeHub, running_hub
from tests.registry.tiny_model import graph, manifest
from tradebot.features.catalogue import SCHEMA_HASH
from tradebot.registry import Manifest, ModelKey, ModelStore

KEY = ModelKey("SOLUSDT", "tiny", "5m")


def made(shift: float, verdict: str = "promoted") -> Manifest:
    return manifest(graph(shift), verdict=verdict, schema_hash=SCHEMA_HASH)  # type: ignore[arg-type]


@pytest.fixture
def store(home: Path) -> ModelStore:
    """v0001 and v0002 were promoted, v0002 serves; v0003 was refused."""
    store = ModelStore(home / "model_store")
    for shift, verdict in ((0.0, "promoted"), (0.5, "promoted"), (0.7, "refused")):
        version = store.add(made(shift, verdict), {"model.onnx": graph(shift)})
        if verdict == "promoted":
            store.promote(KEY, version, who="retrain", why="better", verdict=verdict, at_ms=5_000)
    return store


def serving(store: ModelStore) -> str:
    champion = store.champion(KEY)
    assert champion is not None
    return champion.version


def test_a_refused_version_is_promoted_by_hand_for_paper_and_history_says_who_and_why(
    tradebot: Tradebot, store: ModelStore
) -> None:
    done = tradebot("models", "promote", "SOLUSDT", "challenger", "--reason", "trying it out", "--list-only")
    assert (done.code, done.out, serving(store)) == (
        0, "would promote SOLUSDT/tiny-5m v0003 in place of v0002\n", "v0002"
    )  # fmt: skip
    done = tradebot("models", "promote", "SOLUSDT", "v0003", "--reason", "trying it out")
    assert (done.code, serving(store)) == (0, "v0003")
    assert "SOLUSDT/tiny-5m v0003 serves (before: v0002)" in done.out
    assert "never in mode live" in done.out
    *_, last = [json.loads(line) for line in tradebot("models", "history", "--json").out.splitlines()]
    assert (last["version"], last["action"], last["why"], last["provisional"]) == (
        "v0003", "promote", "trying it out", True,
    )  # fmt: skip
    assert last["who"].startswith("cli:")
    assert store.challenger(KEY) is None
    again = tradebot("models", "promote", "SOLUSDT", "v0003", "--reason", "again")
    assert "serves already" in again.out
    assert len(store.history(KEY)) == 3


def test_in_a_mode_that_trades_for_real_only_what_passed_its_gate_is_promoted(
    tradebot: Tradebot, store: ModelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRADEBOT_MODE", "live")
    done = tradebot("models", "promote", "SOLUSDT", "v0003", "--reason", "I want it")
    assert (done.code, serving(store)) == (3, "v0002")
    assert done.err.startswith(
        "tradebot: SOLUSDT/tiny-5m v0003: its gate says refused, so it never serves in mode live"
    )
    assert tradebot("models", "promote", "SOLUSDT", "v0001", "--reason", "it passed").code == 0
    assert serving(store) == "v0001"


def test_what_cannot_serve_or_is_for_research_only_is_not_promoted(tradebot: Tradebot, store: ModelStore) -> None:
    model = graph(0.9)
    research = msgspec.structs.replace(made(0.9), research_only="needs the whole history")
    store.add(research, {"model.onnx": model})
    store.add(manifest(model), {"model.onnx": model})  # of another feature schema
    strange = msgspec.structs.replace(made(0.9), inputs=msgspec.structs.replace(made(0.9).inputs, view="bars-2d"))
    store.add(strange, {"model.onnx": model})
    for version, code, part in (
        ("v0004", 3, "is for research only and never serves: needs the whole history"),
        ("v0005", 65, "made for feature schema feedface"),
        ("v0006", 65, "of bars-2d, this release does not compute it; retrain it"),
        ("v0099", 65, "there is no version 'v0099'"),
    ):
        done = tradebot("models", "promote", "SOLUSDT", version, "--reason", "x")
        assert (done.code, serving(store)) == (code, "v0002")
        assert part in done.err
    assert tradebot("models", "promote", "SOLUSDT", "v0001", "--reason", " ").code == 2
    assert tradebot("models", "promote", "SOLUSDT", "v0001").code == 2


def test_rollback_goes_back_one_step_and_says_when_there_is_none(tradebot: Tradebot, store: ModelStore) -> None:
    assert tradebot("models", "rollback", "--list-only").out == "would go back to SOLUSDT/tiny-5m v0001\n"
    done = tradebot("models", "rollback", "SOLUSDT", "--reason", "worse live", "--json")
    assert (done.code, serving(store)) == (0, "v0001")
    assert json.loads(done.out)["action"] == "rollback"
    done = tradebot("models", "rollback", "SOLUSDT")
    assert (done.code, done.err) == (65, "tradebot: SOLUSDT/tiny-5m: has no previous\n")


def test_rollback_does_not_go_back_to_what_this_release_cannot_serve(tradebot: Tradebot, store: ModelStore) -> None:
    old = store.add(manifest(graph(0.8)), {"model.onnx": graph(0.8)})  # of another feature schema
    store.promote(KEY, old, who="an earlier release", why="better", verdict="promoted", at_ms=6_000)
    store.promote(KEY, "v0002", who="retrain", why="better", verdict="promoted", at_ms=7_000)
    done = tradebot("models", "rollback", "SOLUSDT")
    assert (done.code, serving(store)) == (65, "v0002")
    assert "made for feature schema feedface" in done.err


def test_list_and_history_show_the_challenger(tradebot: Tradebot, store: ModelStore) -> None:
    assert "challenger (refused)" in tradebot("models", "list").out
    assert "challenger (refused)" in tradebot("models", "history").out
    assert tradebot("models", "show", "SOLUSDT", "challenger").out.startswith("SOLUSDT/tiny-5m v0003")


def test_diff_names_versions_in_many_ways(tradebot: Tradebot, store: ModelStore) -> None:
    for argv in (("v0002", "v0003"), ("champion", "challenger"), ("SOLUSDT:v0002", "SOLUSDT/tiny-5m:challenger"),
                 ("SOLUSDT/tiny-5m", "v0003")):  # fmt: skip
        shown = json.loads(tradebot("models", "diff", *argv, "--json").out)
        assert (shown["a"], shown["b"]) == ("SOLUSDT/tiny-5m:v0002", "SOLUSDT/tiny-5m:v0003")
        assert {"section": "gate", "name": "verdict", "a": "promoted", "b": "refused"} in shown["diff"]["changes"]
    text = tradebot("models", "diff", "champion", "challenger").out
    assert "verdict" in text
    assert "[0.58, 0.64] at 90%" in text
    assert tradebot("models", "diff", "champion", "v0009").code == 65


def test_export_writes_a_folder_a_tar_file_and_the_mlflow_layout(
    tradebot: Tradebot, store: ModelStore, home: Path
) -> None:
    assert tradebot("models", "export", "--to", "out").code == 0
    assert (home / "out" / "model.onnx").read_bytes() == graph(0.5)  # the champion
    assert tradebot("models", "export", "SOLUSDT", "challenger", "--to", "x.tar.gz").code == 0
    assert (home / "x.tar.gz").is_file()
    assert tradebot("models", "export", "--to", "mlflow").code == 0
    assert (home / "mlflow" / "SOLUSDT-tiny-5m-v0002" / "MLmodel").is_file()
    done = tradebot("models", "export", "--to", "out")
    assert (done.code, done.err) == (
        65, "tradebot: out: is there already; an export never overwrites, name another place\n"
    )  # fmt: skip


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, home: Path) -> Iterator[FakeHub]:
    pytest.importorskip("huggingface_hub", reason="needs the hub extra")
    monkeypatch.delenv("HF_TOKEN", raising=False)
    with running_hub() as found:
        monkeypatch.setenv("HF_ENDPOINT", found.url)
        yield found


def test_push_and_pull_with_the_token_of_the_environment_or_a_credential(
    tradebot: Tradebot, store: ModelStore, hub: FakeHub, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = tradebot("models", "push", "--all", "--repo", "someone/models")
    assert done.code == 77
    assert "takes no upload without a token" in done.err
    assert tradebot("models", "push", "--all", "--repo", "someone/models", "--list-only").out == (
        "would push SOLUSDT/tiny-5m v0002 to hf:someone/models\n"
    )
    assert hub.asked == []
    monkeypatch.setenv("TRADEBOT_HUB__TOKEN", TOKEN)
    done = tradebot("models", "push", "--all", "--repo", "someone/models")
    assert (done.code, done.out) == (0, "hf:someone/models: 1 sent, 0 there already, 0 failed\n")
    assert TOKEN not in done.out + done.err
    assert hub.repos["someone/models"].private

    monkeypatch.delenv("TRADEBOT_HUB__TOKEN")
    (home / "secrets").mkdir()
    (home / "secrets" / "hub_token").write_text(TOKEN + "\n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(home / "secrets"))
    assert tradebot("models", "pull", "--repo", "someone/models", "--list-only").out == "SOLUSDT/tiny-5m v0002\n"
    done = tradebot("models", "pull", "--repo", "someone/models", "--store", "elsewhere")
    assert (done.code, done.out) == (0, "elsewhere: 1 new, 0 there already, 0 failed\n")
    assert tradebot("models", "verify", "--store", "elsewhere").code == 0
    assert tradebot("models", "pull", "--repo", "hf:nobody/nothing").code == 65
    assert tradebot("models", "push", "SOLUSDT", "--all", "--repo", "someone/models").code == 2


def test_a_token_in_the_configuration_file_is_refused_with_the_right_place_for_it(
    tradebot: Tradebot, home: Path
) -> None:
    (home / "config.yaml").write_text("data:\n  hub_token: hf_abc\n")
    done = tradebot("config", "check")
    assert done.code == 78
    assert "hub_token or TRADEBOT_HUB__TOKEN" in done.err + done.out
    assert "hf_abc" not in done.err + done.out
