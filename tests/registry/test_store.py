from __future__ import annotations

import errno
import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.registry.tiny_model import SCHEMA, graph, manifest
from tradebot.errors import BusyError, GateNotPassed, ModelError
from tradebot.registry import Champion, ModelKey, ModelStore, durable
from tradebot.registry import store as store_module
from tradebot.registry.manifest import encode, sha256_hex

KEY = ModelKey("SOLUSDT", "tiny", "5m")


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    return ModelStore(tmp_path / "models", lock_wait_s=0.2)


def add(store: ModelStore, shift: float = 0.0, **options: object) -> str:
    model = graph(shift)
    return store.add(manifest(model, **options), {"model.onnx": model, "features.txt": b"a\nb\nc\nd\n"})  # type: ignore[arg-type]


def promote(store: ModelStore, version: str, at_ms: int = 5_000) -> Champion:
    return store.promote(KEY, version, who="tester", why="because", verdict="promoted", at_ms=at_ms)


def folder(store: ModelStore) -> Path:
    return store.root / "SOLUSDT" / "tiny-5m"


def test_versions_count_up_and_read_back_what_was_written(store: ModelStore) -> None:
    assert add(store) == "v0001"
    assert add(store, 0.5) == "v0002"
    artefact = store.load(KEY, "v0002", schema_hash=SCHEMA)
    assert artefact.model == graph(0.5)
    assert artefact.manifest == manifest(graph(0.5))
    assert artefact.ref.version == "v0002"
    assert artefact.ref.sha256 == manifest(graph(0.5)).sha256
    assert sorted(p.name for p in (folder(store) / "v0002").iterdir()) == [
        "MANIFEST.sha256",
        "features.txt",
        "manifest.json",
        "model.onnx",
    ]


def test_a_new_version_does_not_serve_until_it_is_promoted(store: ModelStore) -> None:
    add(store)
    assert store.champion(KEY) is None
    with pytest.raises(ModelError, match="no version has been promoted"):
        store.load(KEY)
    promote(store, "v0001")
    assert store.load(KEY).version == "v0001"


def test_rollback_walks_back_one_promotion_at_a_time(store: ModelStore) -> None:
    for shift in (0.0, 0.1, 0.2):
        promote(store, add(store, shift))
    back = store.rollback(KEY, who="tester", why="worse live", at_ms=6_000)
    assert (back.version, back.previous, back.action) == ("v0002", "v0001", "rollback")
    assert store.rollback(KEY, who="tester", why="still worse", at_ms=7_000).version == "v0001"
    with pytest.raises(ModelError, match="no earlier version"):
        store.rollback(KEY, who="tester", why="again", at_ms=8_000)
    assert [r.version for r in store.history(KEY)] == ["v0001", "v0002", "v0003", "v0002", "v0001"]


def test_a_provisional_version_stays_provisional_however_it_is_promoted(store: ModelStore) -> None:
    pointer = promote(store, add(store, verdict="provisional"))
    assert pointer.provisional
    assert store.load(KEY).ref.provisional


@pytest.mark.parametrize("name", ["model.onnx", "manifest.json", "features.txt", "MANIFEST.sha256"])
def test_one_changed_byte_in_any_file_refuses_the_version(store: ModelStore, name: str) -> None:
    add(store)
    path = folder(store) / "v0001" / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(ModelError) as caught:
        store.load(KEY, "v0001")
    assert "\n" not in str(caught.value)
    assert str(folder(store)) in str(caught.value)


def test_a_truncated_manifest_is_one_clear_line_and_the_list_still_works(store: ModelStore) -> None:
    add(store)
    add(store, 0.3)
    path = folder(store) / "v0001" / "manifest.json"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ModelError, match=r"manifest\.json: not a valid manifest"):
        store.manifest(KEY, "v0001")
    first, second = store.listings()
    assert first.manifest is None
    assert "not a valid manifest" in first.problem
    assert second.manifest is not None


def test_a_missing_and_an_added_file_are_both_refused(store: ModelStore) -> None:
    add(store)
    extra = folder(store) / "v0001" / "notes.txt"
    extra.write_text("later")
    with pytest.raises(ModelError, match="versions never change"):
        store.verify(KEY, "v0001")
    extra.unlink()
    (folder(store) / "v0001" / "features.txt").unlink()
    with pytest.raises(ModelError, match="missing; the version is incomplete"):
        store.verify(KEY, "v0001")


def test_a_model_of_another_feature_schema_or_library_release_is_refused(store: ModelStore) -> None:
    add(store)
    with pytest.raises(ModelError, match="feature schema"):
        store.load(KEY, "v0001", schema_hash="another")
    model = graph(0.7)
    made = manifest(model)
    old = msgspec.structs.replace(made, lineage=msgspec.structs.replace(made.lineage, libraries={"onnxruntime": "0.9"}))
    version = store.add(old, {"model.onnx": model})
    with pytest.raises(ModelError, match=r"made with onnxruntime 0\.9"):
        store.load(KEY, version)


def _rewrite(version: Path, name: str, content: bytes) -> None:
    """Change a file and its recorded sum, as someone who means it would."""
    version.joinpath(name).write_bytes(content)
    sums = version / "MANIFEST.sha256"
    lines = [line for line in sums.read_text().splitlines() if not line.endswith(f"  {name}")]
    sums.write_text("\n".join([*lines, f"{sha256_hex(content)}  {name}"]) + "\n")


def test_another_graph_or_another_symbol_s_manifest_is_refused_though_all_sums_agree(store: ModelStore) -> None:
    add(store)
    version = folder(store) / "v0001"
    original = version.joinpath("model.onnx").read_bytes()
    _rewrite(version, "model.onnx", graph(0.9))
    with pytest.raises(ModelError, match=r"names another model\.onnx"):
        store.load(KEY, "v0001")
    _rewrite(version, "model.onnx", original)
    assert store.load(KEY, "v0001").model == original
    _rewrite(version, "manifest.json", encode(manifest(original, symbol="BTCUSDT")))
    with pytest.raises(ModelError, match="is the manifest of BTCUSDT/tiny-5m"):
        store.load(KEY, "v0001")


def test_files_that_contradict_the_manifest_are_not_stored(store: ModelStore) -> None:
    with pytest.raises(ModelError, match="sha256"):
        store.add(manifest(graph(0.0)), {"model.onnx": graph(1.0)})
    assert store.versions(KEY) == []


@pytest.mark.parametrize("name", ["../up.txt", "/up.txt", "a/../up.txt", "..", "a/b/up.txt"])
def test_a_file_of_a_version_lies_in_its_folder_whoever_made_it(store: ModelStore, tmp_path: Path, name: str) -> None:
    model = graph(0.0)
    with pytest.raises(ModelError, match="cannot be a file of a model version"):
        store.add(manifest(model), {"model.onnx": model, name: b"x"})
    made = ModelStore(tmp_path / "other")
    files = made.files(KEY, add(made)) | {name: b"x"}
    files["MANIFEST.sha256"] += f"{sha256_hex(b'x')}  {name}\n".encode()
    with pytest.raises(ModelError, match="damaged line"):
        store.adopt(KEY, files, why="pulled", at_ms=1)
    assert store.versions(KEY) == []
    assert not list(tmp_path.rglob("up.txt"))


def test_a_corrupt_version_cannot_be_promoted_and_the_champion_stays(store: ModelStore) -> None:
    promote(store, add(store))
    add(store, 0.4)
    (folder(store) / "v0002" / "model.onnx").write_bytes(b"not a model")
    with pytest.raises(ModelError):
        promote(store, "v0002")
    assert store.load(KEY).version == "v0001"


def test_a_full_disk_is_busy_and_leaves_nothing_behind(store: ModelStore, monkeypatch: pytest.MonkeyPatch) -> None:
    promote(store, add(store))
    before = sorted(p.name for p in folder(store).iterdir())

    def full(path: Path, content: bytes) -> None:
        path.write_bytes(content[: len(content) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(store_module, "write_synced", full)
    with pytest.raises(BusyError, match="no space left"):
        add(store, 0.9)

    def no_room(fd: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_room)
    with pytest.raises(BusyError, match="no space left"):
        promote(store, "v0001", at_ms=9_999)
    assert sorted(p.name for p in folder(store).iterdir()) == before
    assert store.load(KEY).version == "v0001"


class Disk:
    """Counts the steps that need room, and has none from the given one on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, full_at: int) -> None:
        self.steps, self._full_at = 0, full_at
        for name in ("fsync", "replace"):
            monkeypatch.setattr(os, name, self._counted(getattr(os, name)))
        opened = os.open
        counted = self._counted(opened)
        writes = os.O_WRONLY | os.O_RDWR
        monkeypatch.setattr(
            os, "open", lambda path, flags, *mode: (counted if flags & writes else opened)(path, flags, *mode)
        )

    def _counted(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            self.steps += 1
            if self.steps >= self._full_at:
                raise OSError(errno.ENOSPC, "No space left on device")
            return real(*arguments)

        return call


@pytest.mark.parametrize("first", [True, False])
def test_a_disk_that_is_full_at_any_step_leaves_pointer_and_history_both_old_or_both_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: bool
) -> None:
    seen = set()
    for step in range(1, 99):
        store = ModelStore(tmp_path / str(step), lock_wait_s=0.2)
        add(store)
        if not first:
            promote(store, "v0001", at_ms=1)
        version = add(store, 0.2)
        before = store.champion(KEY), store.history(KEY)
        with monkeypatch.context() as patched:
            disk = Disk(patched, step)
            try:
                promote(store, version)
            except BusyError:
                done = False
            else:
                done = True
        pointer, history = store.champion(KEY), store.history(KEY)
        moved = pointer is not None and pointer.version == version
        seen.add(moved)
        assert moved or (not done and (pointer, history) == before)
        assert history == ([*before[1], pointer] if moved else before[1])
        if moved:
            written = (folder(store) / "history.jsonl").read_bytes().splitlines()
            assert msgspec.json.decode(written[-1], type=Champion) == pointer
        promote(store, version, at_ms=7_000)
        assert [r.at_ms for r in store.history(KEY)] == [r.at_ms for r in history] + [7_000]
        if done:
            break
    assert seen == {True, False}
    assert disk.steps < step, "every step of a promotion failed once"


def _promote_and_die(root: Path, version: str, at_ms: int) -> None:
    """Promote, and be killed when the pointer would move."""
    replace = os.replace

    def killed(source: str, target: Path) -> None:
        if Path(target).name == "champion.json":
            os._exit(9)
        replace(source, target)

    os.replace = killed  # type: ignore[assignment]
    promote(ModelStore(root), version, at_ms=at_ms)


def test_a_promotion_that_was_killed_before_the_pointer_moved_is_in_no_history(store: ModelStore) -> None:
    told: list[int] = []
    for at_ms in (10, 20, 30):
        version = add(store, at_ms / 100)
        for died in range(2):
            writer = multiprocessing.get_context("fork").Process(
                target=_promote_and_die, args=(store.root, version, at_ms + died)
            )
            writer.start()
            writer.join()
            assert writer.exitcode == 9
            lines = (folder(store) / "history.jsonl").read_bytes().splitlines()
            assert msgspec.json.decode(lines[-1], type=Champion).at_ms == at_ms + died, "its line was written"
            assert [r.at_ms for r in store.history(KEY)] == told
        promote(store, version, at_ms=at_ms + 5)
        told.append(at_ms + 5)
        assert [r.at_ms for r in store.history(KEY)] == told


@pytest.mark.parametrize("kept", [True, False])
def test_an_older_pointer_that_was_put_back_deletes_no_line(store: ModelStore, kept: bool) -> None:
    promote(store, add(store), at_ms=1)
    pointer = folder(store) / "champion.json"
    old = pointer.read_bytes()
    for at_ms in (2, 3):
        promote(store, add(store, at_ms / 10), at_ms=at_ms)
    if kept:
        pointer.write_bytes(old)
        assert [r.at_ms for r in store.history(KEY)] == [1, 2, 3, 1], "the first one serves again"
        assert store.load(KEY).version == "v0001"
        promote(store, "v0002", at_ms=4)
        assert [r.at_ms for r in store.history(KEY)] == [1, 2, 3, 1, 4]
    else:
        pointer.unlink()
        assert [r.at_ms for r in store.history(KEY)] == [1, 2], "the last one may never have happened"
        promote(store, "v0002", at_ms=4)
        assert [r.at_ms for r in store.history(KEY)] == [1, 2, 4]


def test_keeping_the_last_versions_never_deletes_champion_or_predecessor(store: ModelStore) -> None:
    versions = [add(store, shift / 10) for shift in range(6)]
    promote(store, versions[0])
    promote(store, versions[1])
    assert store.collect(KEY, keep=2) == ("v0003", "v0004")
    assert store.versions(KEY) == ["v0001", "v0002", "v0005", "v0006"]
    assert store.load(KEY).version == "v0002"
    assert store.rollback(KEY, who="tester", why="check", at_ms=1).version == "v0001"


def test_a_version_number_is_never_given_twice(store: ModelStore) -> None:
    promote(store, add(store))
    promote(store, add(store, 0.2))
    import shutil

    shutil.rmtree(folder(store) / "v0002")
    assert add(store, 0.3) == "v0003"


def test_a_pointer_that_lost_its_history_line_is_repaired_by_the_next_promotion(store: ModelStore) -> None:
    promote(store, add(store))
    promote(store, add(store, 0.2))
    history = folder(store) / "history.jsonl"
    lines = history.read_bytes().splitlines(keepends=True)
    history.write_bytes(lines[0] + lines[1][:17])
    assert [r.version for r in store.history(KEY)] == ["v0001", "v0002"]
    promote(store, add(store, 0.3))
    assert [r.version for r in store.history(KEY)] == ["v0001", "v0002", "v0003"]


def test_a_damaged_pointer_is_reported_and_mended_by_promoting(store: ModelStore) -> None:
    promote(store, add(store))
    (folder(store) / "champion.json").write_bytes(b'{"version": "v00')
    with pytest.raises(ModelError, match="champion pointer is unreadable"):
        store.load(KEY)
    with pytest.raises(ModelError):
        store.collect(KEY)
    promote(store, add(store, 0.2))
    assert store.load(KEY).version == "v0002"
    assert store.champion(KEY).previous == "v0001"  # type: ignore[union-attr]


def test_a_pointer_that_contradicts_its_version_is_told(store: ModelStore) -> None:
    store.verify_pointer(KEY)  # nothing was promoted: nothing is wrong
    pointer = promote(store, add(store, verdict="provisional"))
    store.verify_pointer(KEY)
    lifted = msgspec.structs.replace(pointer, provisional=False)
    (folder(store) / "champion.json").write_bytes(encode(lifted))
    with pytest.raises(ModelError, match=r"says something else of v0001"):
        store.verify_pointer(KEY)


def test_two_writers_wait_for_each_other_and_the_second_is_told(store: ModelStore) -> None:
    add(store)
    with (
        durable.locked(folder(store) / ".lock", wait_s=0, what="the store"),
        pytest.raises(BusyError, match="in use by another process"),
    ):
        add(store, 0.5)
    assert add(store, 0.5) == "v0002"


@pytest.mark.parametrize("text", ["SOLUSDT", "SOLUSDT/tiny", "../x/tiny-5m", "a b/tiny-5m", "/tiny-5m"])
def test_a_key_that_is_no_model_name_is_refused(text: str) -> None:
    with pytest.raises(ModelError):
        ModelKey.parse(text)


def test_an_unknown_version_names_the_known_ones(store: ModelStore) -> None:
    add(store)
    for name in ("v0009", "../v0001", "latest"):
        with pytest.raises(ModelError, match=r"known: v0001"):
            store.load(KEY, name)


def _write_for_ever(root: str) -> None:
    store = ModelStore(root)
    shift = 0.0
    while True:
        shift += 0.01
        version = add(store, shift)
        promote(store, version)


def test_a_writer_killed_at_any_moment_leaves_a_valid_store(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    store = ModelStore(tmp_path, lock_wait_s=2.0)
    for pause in (0.05, 0.07, 0.11, 0.13, 0.17):
        seen = len(store.versions(KEY))
        writer = context.Process(target=_write_for_ever, args=(str(tmp_path),))
        writer.start()
        deadline = time.monotonic() + 20
        while len(store.versions(KEY)) <= seen and time.monotonic() < deadline:
            time.sleep(0.002)
        time.sleep(pause)
        assert writer.pid is not None
        os.kill(writer.pid, signal.SIGKILL)
        writer.join()
        for version in store.versions(KEY):
            store.verify(KEY, version)
        champion = store.champion(KEY)
        assert champion is not None
        assert store.load(KEY).version == champion.version
    add(store, 9.0)
    assert not list(folder(store).glob(".tmp-*"))


def test_a_version_keeps_its_figures_in_a_folder_and_they_are_verified_too(store: ModelStore) -> None:
    model = graph()
    files = {"model.onnx": model, "figures/calibration.png": b"\x89PNG one"}
    version = store.add(manifest(model), files)
    assert store.files(KEY, version).keys() == {*files, "manifest.json", "MANIFEST.sha256"}
    (folder(store) / version / "figures" / "calibration.png").write_bytes(b"\x89PNG two")
    with pytest.raises(ModelError, match=r"figures/calibration\.png: content differs"):
        store.load(KEY, version)
    for name in ("figures/../x", "a/b/c.png", "/etc/x", "figures/", "MANIFEST.sha256"):
        with pytest.raises(ModelError, match="cannot be a file of a model version"):
            store.add(manifest(model), {**files, name: b""})


def test_the_challenger_is_the_newest_version_that_does_not_serve(store: ModelStore) -> None:
    assert store.challenger(KEY) is None
    promote(store, add(store))
    assert store.challenger(KEY) is None
    add(store, 0.1, verdict="refused")
    add(store, 0.2)
    found = store.challenger(KEY)
    assert found is not None
    assert (found.version, found.state, found.why, found.at_ms) == ("v0003", "waiting", "made for a test", 2_000)
    promote(store, "v0002")  # an older one: the newer still waits
    assert store.challenger(KEY) == found
    add(store, 0.3, verdict="refused")
    assert [item.challenger for item in store.listings()] == ["", "", "", "refused"]
    store.rollback(KEY, who="tester", why="worse", at_ms=1)
    assert store.challenger(KEY).version == "v0004"  # type: ignore[union-attr]
    promote(store, "v0004")
    assert store.challenger(KEY) is None
    assert not (folder(store) / "challenger.json").exists()


def test_a_challenger_is_never_collected_and_a_damaged_pointer_to_it_harms_nobody(store: ModelStore) -> None:
    for shift in range(3):
        add(store, shift / 10)
    versions = [add(store, 0.5), add(store, 0.6)]
    promote(store, versions[-1])
    add(store, 0.7, verdict="refused")
    assert "v0006" not in store.collect(KEY, keep=1)
    (folder(store) / "challenger.json").write_bytes(b"{")
    assert store.challenger(KEY) is None
    assert store.load(KEY).version == versions[-1]
    add(store, 0.8)
    assert store.challenger(KEY).version == "v0007"  # type: ignore[union-attr]


def test_what_is_for_research_only_is_never_promoted(store: ModelStore) -> None:
    promote(store, add(store))
    model = graph(0.4)
    version = store.add(
        msgspec.structs.replace(manifest(model), research_only="needs the whole history"), {"model.onnx": model}
    )
    with pytest.raises(GateNotPassed, match="for research only and never serves: needs the whole history"):
        promote(store, version)
    assert store.load(KEY).version == "v0001"


def test_a_version_made_elsewhere_is_adopted_byte_for_byte_and_only_once(store: ModelStore, tmp_path: Path) -> None:
    other = ModelStore(tmp_path / "other")
    add(other, 0.1)
    files = other.files(KEY, add(other, 0.2))
    assert store.adopt(KEY, files, why="from elsewhere", at_ms=9) == ("v0001", True)
    assert store.files(KEY, "v0001") == files
    assert store.adopt(KEY, files, why="again", at_ms=10) == ("v0001", False)
    assert (store.champion(KEY), store.challenger(KEY).why) == (None, "from elsewhere")  # type: ignore[union-attr]
    changed = {**files, "features.txt": b"a\n"}
    short = {name: content for name, content in files.items() if name != "model.onnx"}
    for bad, part in ((changed, "content differs"), (short, "missing"), ({"model.onnx": b""}, r"MANIFEST\.sha256")):
        with pytest.raises(ModelError, match=part):
            store.adopt(KEY, bad, why="", at_ms=0)
    with pytest.raises(ModelError, match="is the manifest of SOLUSDT/tiny-5m"):
        store.adopt(ModelKey("BTCUSDT", "tiny", "5m"), files, why="", at_ms=0)
    assert store.versions(KEY) == ["v0001"]
