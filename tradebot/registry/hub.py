"""Model versions on the HuggingFace Hub. Needs the ``hub`` extra; where it is missing, importing fails with its name.

A repository holds what a store does: ``SYMBOL/NAME-INTERVAL/vNNNN/`` with the version's own files, a model card
beside them, and an index with the summaries of training at the top. A version appears in one commit, so it is there
whole or not at all, and never changes: another version of the same name is refused, not overwritten.
"""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import msgspec

from tradebot.errors import AuthRefused, BusyError, DataError, ModelError, TradebotError
from tradebot.registry.card import index_card, model_card
from tradebot.registry.hub_client import ATTEMPTS, PAUSE_S, HubClient
from tradebot.registry.manifest import ModelKey, decode_manifest
from tradebot.registry.store import MANIFEST_FILE, SUMS_FILE, ModelStore, sums_of

RESULTS = ("training_summary.json", "training_summary.csv", "training_results.json")
"""Summaries of training below the store's root that travel with the models."""
_REPO = re.compile(r"(?:hf:)?([\w.-]+/[\w.-]+)(?:@([\w./-]+))?")
_SUMS_PATH = re.compile(rf"(?P<key>[^/]+/[^/]+)/(?P<version>v[0-9]{{4,9}})/{re.escape(SUMS_FILE)}")

OnLine = Callable[[str], None]


class Pushed(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one version. ``problem`` is empty unless it failed."""

    model: str
    version: str
    state: Literal["pushed", "unchanged", "failed"]
    files: int = 0
    bytes: int = 0
    problem: str = ""


class Pulled(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one version of the repository; ``version`` is its name in the store here."""

    model: str
    remote_version: str
    state: Literal["pulled", "unchanged", "failed"]
    version: str = ""
    problem: str = ""


def parse_repo(text: str) -> tuple[str, str | None]:
    """Repository and revision of ``OWNER/NAME``, ``hf:OWNER/NAME`` or either with ``@REVISION``. Raises DataError.

    >>> parse_repo("hf:someone/models@v2")
    ('someone/models', 'v2')
    """
    found = _REPO.fullmatch(text)
    if found is None or ".." in found[1]:
        raise DataError(f"{text!r} is no repository; write OWNER/NAME, or OWNER/NAME@REVISION")
    return found[1], found[2]


def push(
    store: ModelStore,
    keys: Sequence[ModelKey],
    repo: str,
    *,
    token: str | None,
    private: bool = True,
    version: str | None = None,
    results: Mapping[str, bytes] | None = None,
    on_line: OnLine | None = None,
    attempts: int = ATTEMPTS,
    pause_s: float = PAUSE_S,
    endpoint: str | None = None,
) -> list[Pushed]:
    """Upload one version of each model to ``repo`` (made, private, where it is not there): ``version``, else the
    champion, else the newest. What is there already is not sent again.

    ``results`` are files for the top of the repository, beside the summaries in the store. Every request is tried
    ``attempts`` times. A version that cannot be sent is reported and does not stop the others. Raises AuthRefused
    without a token or for one that is refused, ModelError for a public repository when ``private`` is asked for,
    BusyError when the account has no room, Unavailable when the Hub cannot be reached.
    """
    if not token:
        raise AuthRefused(
            "the Hub takes no upload without a token; put one into $CREDENTIALS_DIRECTORY/hub_token, "
            "TRADEBOT_HUB__TOKEN or HF_TOKEN"
        )
    name, revision = parse_repo(repo)
    hub = HubClient(name, revision, token, attempts, pause_s, endpoint)
    say = on_line or _silent
    hub.create(private)
    there = hub.files()
    done = []
    shown = []
    for number, key in enumerate(keys, 1):
        try:
            chosen = version or _to_push(store, key)
            files = store.files(key, chosen)
            manifest = decode_manifest(files[MANIFEST_FILE], f"{key} {chosen}")
            champion = store.champion(key)
            card = model_card(manifest, chosen, serves=champion is not None and champion.version == chosen)
            pushed = _push_version(hub, there, key, chosen, files, card.encode())
            shown.append((key, chosen, manifest))
        except (AuthRefused, BusyError):
            raise
        except TradebotError as error:
            pushed = Pushed(model=str(key), version=version or "", state="failed", problem=str(error))
        done.append(pushed)
        say(f"{number}/{len(keys)} {pushed.model} {pushed.version} {pushed.state}{_because(pushed.problem)}")
    top = {name: (store.root / name).read_bytes() for name in RESULTS if (store.root / name).is_file()}
    top |= results or {}
    top["README.md"] = index_card(name, shown).encode()
    changed = {path: content for path, content in top.items() if there.get(path) != _git_id(content)}
    if shown and changed:
        hub.commit(changed, "Index and summaries of training")
    return done


def pull(
    repo: str,
    store: ModelStore,
    *,
    token: str | None = None,
    models: Sequence[str] = (),
    every: bool = False,
    at_ms: int = 0,
    on_line: OnLine | None = None,
    attempts: int = ATTEMPTS,
    pause_s: float = PAUSE_S,
    endpoint: str | None = None,
) -> list[Pulled]:
    """Download versions from ``repo`` into ``store``: of each model (those named ``SYMBOL/NAME-INTERVAL``, or all) the
    newest, or ``every`` one.

    A version gets the next free name here and waits as challenger; it does not serve until it is promoted. Every byte
    is checked against the version's sums first. What is here already is neither loaded nor overwritten; an interrupted
    download goes on where it was. One that fails is reported and does not stop the others. Raises AuthRefused,
    DataError for a repository, revision or model that is not there, Unavailable when the Hub cannot be reached.
    """
    name, revision = parse_repo(repo)
    hub = HubClient(name, revision, token, attempts, pause_s, endpoint)
    say = on_line or _silent
    commit = hub.head()
    there = hub.files(commit)
    found = _versions(there)
    unknown = sorted(set(models) - {str(key) for key in found})
    if unknown or not found:
        known = ", ".join(map(str, found)) or "none"
        raise DataError(f"hf:{name}: no model {', '.join(unknown) or 'at all'} (there: {known})")
    wanted = [
        (key, number)
        for key, numbers in found.items()
        if not models or str(key) in models
        for number in (numbers if every else numbers[-1:])
    ]
    scratch = store.root / ".pull" / f"{name.replace('/', '--')}-{commit[:12]}"
    done = []
    for number, (key, remote) in enumerate(wanted, 1):
        try:
            pulled = _pull_version(hub, store, commit, there, key, remote, scratch, at_ms)
        except AuthRefused:
            raise
        except TradebotError as error:
            pulled = Pulled(model=str(key), remote_version=remote, state="failed", problem=str(error))
        done.append(pulled)
        as_here = f" as {pulled.version}" if pulled.version else ""
        say(f"{number}/{len(wanted)} {key} {remote} {pulled.state}{as_here}{_because(pulled.problem)}")
    if all(pulled.state != "failed" for pulled in done):
        shutil.rmtree(store.root / ".pull", ignore_errors=True)
    return done


def listed(
    repo: str,
    *,
    token: str | None = None,
    attempts: int = ATTEMPTS,
    pause_s: float = PAUSE_S,
    endpoint: str | None = None,
) -> dict[ModelKey, list[str]]:
    """The complete versions of each model in ``repo``, oldest first. Raises as :func:`pull`."""
    name, revision = parse_repo(repo)
    return _versions(HubClient(name, revision, token, attempts, pause_s, endpoint).files())


# --- one version ------------------------------------------------------------------------------------------------------


def _to_push(store: ModelStore, key: ModelKey) -> str:
    champion, versions = store.champion(key), store.versions(key)
    if champion is None and not versions:
        raise ModelError(f"{key}: has no version yet; train one with 'tradebot train'")
    return champion.version if champion is not None else versions[-1]


def _push_version(
    hub: HubClient, there: Mapping[str, str], key: ModelKey, version: str, files: Mapping[str, bytes], card: bytes
) -> Pushed:
    folder = f"{key}/{version}"
    known = there.get(f"{folder}/{SUMS_FILE}")
    if known is not None and known != _git_id(files[SUMS_FILE]):
        raise ModelError(
            f"hf:{hub.repo}: has another {key} {version} already, and versions never change; push to another repository"
        )
    if known is not None:
        return Pushed(model=str(key), version=version, state="unchanged")
    contents = {f"{folder}/{name}": content for name, content in files.items()}
    hub.commit({**contents, f"{folder}/README.md": card}, f"{key} {version}")
    return Pushed(
        model=str(key), version=version, state="pushed", files=len(files), bytes=sum(map(len, files.values()))
    )


def _pull_version(
    hub: HubClient,
    store: ModelStore,
    commit: str,
    there: Mapping[str, str],
    key: ModelKey,
    remote: str,
    scratch: Path,
    at_ms: int,
) -> Pulled:
    folder = f"{key}/{remote}"
    here = store.sums(key)
    recorded = hub.download(f"{folder}/{SUMS_FILE}", commit, scratch)
    for version, known in here.items():
        if known == recorded:
            return Pulled(model=str(key), remote_version=remote, state="unchanged", version=version)
    files = {SUMS_FILE: recorded}
    for name in sums_of(recorded, f"hf:{hub.repo}/{folder}"):
        if f"{folder}/{name}" not in there:
            raise ModelError(f"hf:{hub.repo}/{folder}/{name}: missing; the version is incomplete")
        files[name] = hub.download(f"{folder}/{name}", commit, scratch)
    version, new = store.adopt(key, files, why=f"pulled from hf:{hub.repo} {remote} ({commit[:12]})", at_ms=at_ms)
    return Pulled(model=str(key), remote_version=remote, state="pulled" if new else "unchanged", version=version)


def _versions(there: Mapping[str, str]) -> dict[ModelKey, list[str]]:
    """Complete versions by model, oldest first. Folders that are no model are passed over."""
    found: dict[ModelKey, list[str]] = {}
    for path in there:
        match = _SUMS_PATH.fullmatch(path)
        if match is None:
            continue
        try:
            key = ModelKey.parse(match["key"])
        except ModelError:
            continue
        found.setdefault(key, []).append(match["version"])
    return {key: sorted(names, key=lambda name: int(name[1:])) for key, names in sorted(found.items())}


def _git_id(content: bytes) -> str:
    """What git calls this content, which is what the Hub lists for a small file."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def _because(problem: str) -> str:
    return f": {problem}" if problem else ""


def _silent(text: str) -> None:
    pass
