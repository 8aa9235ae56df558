"""Models pushed to and pulled from a server on this machine that answers, and fails, as the Hub does."""

from __future__ import annotations

import errno
import json
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.registry.fake_hub import TOKEN, FakeHub, Repo, running_hub
from tests.registry.tiny_model import graph, manifest
from tradebot.errors import AuthRefused, BusyError, DataError, ModelError, Unavailable
from tradebot.registry import ModelKey, ModelStore
from tradebot.registry.manifest import sha256_hex

pytest.importorskip("huggingface_hub", reason="needs the hub extra")
from tradebot.registry import hub_client
from tradebot.registry.hub import parse_repo, pull, push

KEY = ModelKey("SOLUSDT", "tiny", "5m")
OTHER = ModelKey("BTCUSDT", "tiny", "5m")
REPO = "someone/models"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    # the library's own back-off sleeps for seconds
    monkeypatch.setattr("huggingface_hub.utils._http.time", SimpleNamespace(sleep=lambda s: None, time=time.time))
    with running_hub() as found:
        yield found


def stored(root: Path, *keys: ModelKey, shift: float = 0.0) -> ModelStore:
    store = ModelStore(root)
    for key in keys:
        model = graph(shift)
        files = {"model.onnx": model, "figures/loss.png": b"\x89PNG", "features.txt": b"a\nb\n"}
        store.add(manifest(model, symbol=key.symbol), files)
    return store


def pushed(store: ModelStore, hub: FakeHub, *keys: ModelKey, **more: Any) -> list[tuple[str, str]]:
    options: dict[str, Any] = {"token": TOKEN, "endpoint": hub.url, "pause_s": 0.01} | more
    return [(p.version, p.state) for p in push(store, keys or (KEY,), REPO, **options)]


def pulled(store: ModelStore, hub: FakeHub, **more: Any) -> list[tuple[str, str, str]]:
    options: dict[str, Any] = {"token": TOKEN, "endpoint": hub.url, "pause_s": 0.01} | more
    return [(p.remote_version, p.state, p.version) for p in pull(REPO, store, **options)]


def test_what_is_pushed_is_pulled_byte_for_byte_and_neither_is_done_twice(hub: FakeHub, tmp_path: Path) -> None:
    store = stored(tmp_path / "a", KEY, OTHER)
    (store.root / "training_summary.json").write_text('{"trained": 2}')
    assert pushed(store, hub, KEY, OTHER, results={"training_results.json": b"{}"}) == [("v0001", "pushed")] * 2
    repo = hub.repos[REPO]
    assert repo.private
    assert len(repo.commits) == 1 + 2 + 1  # one for each version and one for the top
    assert {path for path in repo.files if "/" not in path} == {
        "README.md", "training_summary.json", "training_results.json"
    }  # fmt: skip
    assert b"# SOLUSDT/tiny-5m v0001" in repo.files["SOLUSDT/tiny-5m/v0001/README.md"]
    hub.asked.clear()
    assert pushed(store, hub, KEY, OTHER, results={"training_results.json": b"{}"}) == [("v0001", "unchanged")] * 2
    assert (hub.count("PUT"), hub.count("/commit/")) == (0, 0)

    there = ModelStore(tmp_path / "b")
    assert pulled(there, hub, at_ms=77) == [("v0001", "pulled", "v0001")] * 2
    assert there.files(KEY, "v0001") == store.files(KEY, "v0001")
    challenger = there.challenger(KEY)
    assert challenger is not None
    assert (challenger.state, challenger.at_ms) == ("waiting", 77)
    assert challenger.why.startswith(f"pulled from hf:{REPO} v0001")
    assert there.champion(KEY) is None
    assert not list(there.root.glob(".pull"))
    hub.asked.clear()
    assert pulled(there, hub) == [("v0001", "unchanged", "v0001")] * 2
    assert hub.count(r"GET .*model\.onnx") == 0


def test_a_pulled_version_takes_the_next_name_and_never_another_ones_place(hub: FakeHub, tmp_path: Path) -> None:
    first = stored(tmp_path / "a", KEY, shift=0.1)
    pushed(first, hub)
    there = stored(tmp_path / "b", KEY, shift=0.2)
    kept = there.files(KEY, "v0001")
    assert pulled(there, hub) == [("v0001", "pulled", "v0002")]
    assert there.files(KEY, "v0001") == kept
    # and the other way round: v0001 of this store is another one than the Hub's
    [refused] = push(there, [KEY], REPO, token=TOKEN, endpoint=hub.url, version="v0001")
    assert refused.state == "failed"
    assert "has another SOLUSDT/tiny-5m v0001 already, and versions never change" in refused.problem
    assert hub.repos[REPO].files["SOLUSDT/tiny-5m/v0001/model.onnx"] == first.files(KEY, "v0001")["model.onnx"]


def test_the_champion_is_pushed_and_the_newest_is_pulled_unless_every_one_is_wanted(
    hub: FakeHub, tmp_path: Path
) -> None:
    store = stored(tmp_path / "a", KEY)
    store.promote(KEY, "v0001", who="t", why="t", verdict="promoted", at_ms=1)
    stored(tmp_path / "a", KEY, shift=0.5)
    assert pushed(store, hub) == [("v0001", "pushed")]
    assert pushed(store, hub, version="v0002") == [("v0002", "pushed")]
    assert pulled(ModelStore(tmp_path / "b"), hub) == [("v0002", "pulled", "v0001")]
    assert [row[0] for row in pulled(ModelStore(tmp_path / "c"), hub, every=True)] == ["v0001", "v0002"]
    with pytest.raises(DataError, match=r"no model X/y-5m \(there: SOLUSDT/tiny-5m\)"):
        pulled(ModelStore(tmp_path / "d"), hub, models=["X/y-5m"])


@pytest.mark.parametrize(
    ("method", "path", "what"),
    [
        ("PUT", "/lfs/", 503), ("PUT", "/lfs/", "cut"), ("POST", "/commit/", 500), ("POST", "/commit/", "cut"),
        ("POST", "/preupload/", 502), ("POST", "/objects/batch", 500), ("GET", "/tree/", 503),
        ("POST", "/repos/create", 500), ("POST", "/commit/", 429), ("POST", "/commit/", "hang"),
    ],
)  # fmt: skip
def test_an_upload_that_fails_on_the_way_is_tried_again_and_ends_whole(
    hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str, path: str, what: int | str
) -> None:
    if what == "hang":
        monkeypatch.setattr(hub_client, "TIMEOUT_S", 1.0)
    store = stored(tmp_path / "a", KEY)
    hub.fail(method, path, what, times=2)
    assert pushed(store, hub) == [("v0001", "pushed")]
    assert hub.failures[0].times == 0
    assert pulled(ModelStore(tmp_path / "b"), hub) == [("v0001", "pulled", "v0001")]


def test_an_upload_given_up_leaves_no_half_version_and_goes_on_where_it_was(hub: FakeHub, tmp_path: Path) -> None:
    store = stored(tmp_path / "a", KEY, OTHER)
    hub.fail("POST", "/commit/", 500, times=2)
    done = push(store, [KEY, OTHER], REPO, token=TOKEN, endpoint=hub.url, attempts=2, pause_s=0.01)
    assert [p.state for p in done] == ["failed", "pushed"]
    assert "the Hub failed (500" in done[0].problem
    assert not any(path.startswith("SOLUSDT/") for path in hub.repos[REPO].files)
    hub.asked.clear()
    assert pushed(store, hub, KEY, OTHER) == [("v0001", "pushed"), ("v0001", "unchanged")]
    assert hub.count("PUT /lfs/") == 0  # the large files had arrived


@pytest.mark.parametrize(
    ("path", "status", "message", "kind", "part"),
    [
        (
            "/repos/create",
            401,
            "Invalid username or password.",
            AuthRefused,
            r"refuses access \(401\); check the token",
        ),
        ("/commit/", 403, "you have no right to push here", AuthRefused, r"refuses access \(403\)"),
        ("/commit/", 403, "Private repository storage limit reached", BusyError, "no room left"),
        ("/commit/", 413, "too large", BusyError, "no room left"),
        ("/preupload/", 404, "", None, "no such repository"),
    ],
)
def test_a_refusal_is_told_in_one_line_and_not_tried_again(
    hub: FakeHub, tmp_path: Path, path: str, status: int, message: str, kind: type[Exception] | None, part: str
) -> None:
    store = stored(tmp_path / "a", KEY)
    hub.fail("POST", path, status, times=9, message=message)
    if kind is None:
        [failed] = push(store, [KEY], REPO, token=TOKEN, endpoint=hub.url)
        assert part in failed.problem
    else:
        with pytest.raises(kind, match=part) as caught:
            pushed(store, hub)
        assert "\n" not in str(caught.value)
        assert TOKEN not in str(caught.value)
    assert hub.count(path) == 1


def test_an_account_without_room_for_large_files_is_told_and_not_asked_again(hub: FakeHub, tmp_path: Path) -> None:
    store = stored(tmp_path / "a", KEY)
    hub.large_refused = "You have exceeded your LFS budget"
    with pytest.raises(BusyError, match=r"no room left for it .*exceeded your LFS budget"):
        pushed(store, hub)
    assert hub.count("objects/batch") == 1
    hub.large_refused = "try later"
    [failed] = push(store, [KEY], REPO, token=TOKEN, endpoint=hub.url, attempts=2, pause_s=0.01)
    assert "takes no large files" in failed.problem


def test_without_a_token_or_with_a_wrong_one_nothing_is_sent(hub: FakeHub, tmp_path: Path) -> None:
    store = stored(tmp_path / "a", KEY)
    with pytest.raises(AuthRefused, match="takes no upload without a token"):
        pushed(store, hub, token=None)
    assert hub.asked == []
    with pytest.raises(AuthRefused, match=r"refuses access \(401\)") as caught:
        pushed(store, hub, token="hf_wrong")
    assert "hf_wrong" not in str(caught.value)
    pushed(store, hub)
    with pytest.raises(AuthRefused, match=r"a private one needs a token"):
        pulled(ModelStore(tmp_path / "b"), hub, token=None)


def test_a_public_repository_is_not_filled_by_accident(hub: FakeHub, tmp_path: Path) -> None:
    store = stored(tmp_path / "a", KEY)
    hub.repos[REPO] = Repo(private=False)
    with pytest.raises(ModelError, match="is public; push with --public"):
        pushed(store, hub)
    assert hub.repos[REPO].files == {}
    assert pushed(store, hub, private=False) == [("v0001", "pushed")]
    assert pulled(ModelStore(tmp_path / "b"), hub, token=None) == [("v0001", "pulled", "v0001")]


def test_a_changed_byte_or_a_missing_file_never_becomes_a_version(hub: FakeHub, tmp_path: Path) -> None:
    pushed(stored(tmp_path / "a", KEY, OTHER), hub, KEY, OTHER)
    files = hub.repos[REPO].files
    files["SOLUSDT/tiny-5m/v0001/model.onnx"] = graph(0.7)
    del files["BTCUSDT/tiny-5m/v0001/features.txt"]
    there = ModelStore(tmp_path / "b")
    bitcoin, solana = pull(REPO, there, token=TOKEN, endpoint=hub.url)
    assert (bitcoin.state, solana.state) == ("failed", "failed")
    assert "features.txt: missing" in bitcoin.problem
    assert "model.onnx: content differs" in solana.problem
    assert there.versions(KEY) == there.versions(OTHER) == []


@pytest.mark.parametrize(
    "name", ["../../../../up.txt", "/{tmp_path}/up.txt", "figures/../../../../up.txt", "..", "a/b/up.txt"]
)
def test_a_file_that_would_lie_outside_of_its_version_is_refused(hub: FakeHub, tmp_path: Path, name: str) -> None:
    pushed(stored(tmp_path / "a", KEY), hub)
    name, files = name.format(tmp_path=tmp_path), hub.repos[REPO].files
    files[f"SOLUSDT/tiny-5m/v0001/{name}"] = b"x"
    files["SOLUSDT/tiny-5m/v0001/MANIFEST.sha256"] += f"{sha256_hex(b'x')}  {name}\n".encode()
    there = ModelStore(tmp_path / "b")
    [one] = pull(REPO, there, token=TOKEN, endpoint=hub.url, attempts=1)
    assert (one.state, "damaged line" in one.problem) == ("failed", True), one.problem
    assert there.versions(KEY) == []
    assert not list(tmp_path.rglob("up.txt"))


@pytest.mark.parametrize("what", [500, "cut", "hang"])
def test_a_download_that_breaks_off_goes_on_and_ends_whole(
    hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: int | str
) -> None:
    if what == "hang":
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DOWNLOAD_TIMEOUT", 1.0)
    store = stored(tmp_path / "a", KEY)
    pushed(store, hub)
    hub.fail("GET", r"model\.onnx", what, times=2)
    there = ModelStore(tmp_path / "b")
    assert pulled(there, hub) == [("v0001", "pulled", "v0001")]
    assert there.files(KEY, "v0001") == store.files(KEY, "v0001")


def test_what_is_no_model_in_a_repository_is_passed_over_and_an_empty_one_is_told(hub: FakeHub, tmp_path: Path) -> None:
    hub.repos[REPO] = Repo(private=True, files={"README.md": b"x", "../x/tiny-5m/v0001/MANIFEST.sha256": b"x"})
    with pytest.raises(DataError, match="no model at all"):
        pulled(ModelStore(tmp_path / "b"), hub)
    with pytest.raises(DataError, match="no such repository"):
        pull("someone/else", ModelStore(tmp_path / "b"), token=TOKEN, endpoint=hub.url)
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize("what", ["", "tree"])
@pytest.mark.parametrize("answer", ["{", "null", '"x"', "[1]", '[{"type": "file", "path": 5, "oid": "a", "size": 1}]'])
def test_an_answer_that_makes_no_sense_is_told_in_one_line(
    hub: FakeHub, tmp_path: Path, what: str, answer: str
) -> None:
    pushed(stored(tmp_path / "a", KEY), hub)
    hub.nonsense[what] = answer
    with pytest.raises(Unavailable, match="answer makes no sense") as caught:
        pulled(ModelStore(tmp_path / "b"), hub, attempts=1)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "folder", ["SOLUSDT/tiny-5m/v" + "1" * 5_000, "SOLUSDT/tiny-5m/v٠٠٠٩", "S" * 400 + "/tiny-5m/v0001"]
)
def test_a_name_that_no_version_has_does_not_stop_the_others(hub: FakeHub, tmp_path: Path, folder: str) -> None:
    pushed(stored(tmp_path / "a", KEY), hub)
    hub.repos[REPO].files[f"{folder}/MANIFEST.sha256"] = b"x"
    assert pulled(ModelStore(tmp_path / "b"), hub, every=True) == [("v0001", "pulled", "v0001")]


def test_a_disk_that_is_full_here_is_not_the_hub_s_fault(
    hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pushed(stored(tmp_path / "a", KEY), hub)

    def no_room(*about: object, **more: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(tmp_path / "b"))

    monkeypatch.setattr("huggingface_hub.HfApi.hf_hub_download", no_room)
    [one] = pull(REPO, ModelStore(tmp_path / "b"), token=TOKEN, endpoint=hub.url)
    assert (one.state, "no space left" in one.problem) == ("failed", True)


def test_a_token_that_lies_on_this_machine_is_not_sent_unasked(
    hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pushed(stored(tmp_path / "a", KEY), hub, private=False)
    hub.tokens.clear()
    monkeypatch.setenv("HF_TOKEN", "hf_lying_around")
    assert pulled(ModelStore(tmp_path / "b"), hub, token=None) == [("v0001", "pulled", "v0001")]
    assert hub.tokens == set()


def test_a_token_that_the_hub_repeats_is_not_told(hub: FakeHub, tmp_path: Path) -> None:
    pushed(stored(tmp_path / "a", KEY), hub)
    hub.fail("GET", "/tree/", 500, times=9, message=f"who is {TOKEN}?")
    with pytest.raises(Unavailable) as caught:
        pulled(ModelStore(tmp_path / "b"), hub, attempts=1)
    assert "who is ***?" in str(caught.value)


def test_a_file_that_is_no_model_s_size_is_refused(
    hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pushed(stored(tmp_path / "a", KEY), hub)
    monkeypatch.setattr(hub_client, "MAX_FILE_BYTES", 10)
    [one] = pull(REPO, ModelStore(tmp_path / "b"), token=TOKEN, endpoint=hub.url)
    assert one.state == "failed"
    assert "that is no model" in one.problem


def test_a_hub_that_is_not_there_is_told(tmp_path: Path) -> None:
    store = stored(tmp_path / "a", KEY)
    with pytest.raises(Unavailable, match="the Hub cannot be reached"):
        push(store, [KEY], REPO, token=TOKEN, endpoint="http://127.0.0.1:1", attempts=1)


def test_the_index_lists_what_was_pushed(hub: FakeHub, tmp_path: Path) -> None:
    store = stored(tmp_path / "a", KEY)
    (store.root / "training_summary.json").write_text(json.dumps({"a": 1}))
    pushed(store, hub)
    text = hub.repos[REPO].files["README.md"].decode()
    assert text.startswith("---\nlibrary_name: onnx\n")
    assert "[SOLUSDT/tiny-5m](SOLUSDT/tiny-5m/v0001/README.md)" in text


@pytest.mark.parametrize("text", ["models", "a/b/c", "hf:a", "a/../b", "http://x/y"])
def test_what_is_no_repository_is_refused(text: str) -> None:
    with pytest.raises(DataError, match="write OWNER/NAME"):
        parse_repo(text)
