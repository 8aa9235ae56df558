"""The model store on disk.

::

    ROOT/SOLUSDT/lightgbm-5m/
        v0001/  model.onnx  model.txt  manifest.json  metrics.json  features.txt  figures/*.png  MANIFEST.sha256
        champion.json     which version serves, since when, who decided and why; replaced atomically
        challenger.json   the newest version that does not serve: refused by the gate, or waiting to be judged
        history.jsonl     every promotion and rollback, oldest first; one line ahead of the pointer does not count

A version appears by one rename and never changes. Nothing is unpickled. Readers need no lock; writers of one model
take its ``.lock``. A crash leaves at most a ``.tmp-*`` folder, which the next writer removes.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

import msgspec

from tradebot.errors import GateNotPassed, ModelError
from tradebot.events import ModelRef
from tradebot.ops.files import fsync_directory, write_atomic
from tradebot.registry.durable import disk_errors, locked, write_synced
from tradebot.registry.libraries import require_major
from tradebot.registry.manifest import Manifest, ModelKey, decode_manifest, encode, sha256_hex
from tradebot.registry.pointers import (
    CHALLENGER_FILE,
    CHAMPION_FILE,
    Challenger,
    Champion,
    move,
    read_challenger,
    read_champion,
    read_history,
)

MODEL_FILE = "model.onnx"
MANIFEST_FILE = "manifest.json"
SUMS_FILE = "MANIFEST.sha256"

_VERSION = re.compile(r"v([0-9]{4,9})")
_FILE_NAME = re.compile(r"(?:[A-Za-z0-9][A-Za-z0-9_.-]*/)?[A-Za-z0-9][A-Za-z0-9_.-]*")
"""A file of a version, or of a folder in it (``figures/loss.png``)."""
_SUM_LINE = re.compile(rf"([0-9a-f]{{64}})  ({_FILE_NAME.pattern})")


class Artefact(msgspec.Struct, frozen=True, kw_only=True):
    """A version read and verified: its manifest and the bytes of its graph."""

    key: ModelKey
    version: str
    manifest: Manifest
    model: bytes

    @property
    def ref(self) -> ModelRef:
        return self.manifest.ref(self.version)


class Listing(msgspec.Struct, frozen=True, kw_only=True):
    """One line of ``models list``. ``problem`` is empty when the version's manifest can be read.

    ``pointer_problem`` says why it is not known which version of this model serves; it is empty when it is known.
    ``challenger`` is the state of the version that does not serve yet, empty for all others.
    """

    key: ModelKey
    version: str
    champion: bool
    previous: bool
    challenger: str
    manifest: Manifest | None
    problem: str = ""
    pointer_problem: str = ""


class ModelStore:
    """Versions and pointers below ``root``. Every method may raise ModelError, BusyError or DataError."""

    def __init__(self, root: Path | str, *, lock_wait_s: float = 10.0) -> None:
        self.root = Path(root)
        self._lock_wait_s = lock_wait_s

    # --- reading ---------------------------------------------------------------------------------------------------

    def keys(self) -> list[ModelKey]:
        """Every model that has a folder, sorted."""
        found = []
        for folder in sorted(self.root.glob("*/*-*")):
            with contextlib.suppress(ModelError):
                if folder.is_dir():
                    found.append(ModelKey.parse(f"{folder.parent.name}/{folder.name}"))
        return found

    def versions(self, key: ModelKey) -> list[str]:
        """Complete versions of a model, oldest first."""
        return [f"v{number:04d}" for number in sorted(self._complete(key))]

    def champion(self, key: ModelKey) -> Champion | None:
        """The pointer, or None when nothing was ever promoted. Raises ModelError when it cannot be read."""
        return read_champion(self._folder(key))

    def challenger(self, key: ModelKey) -> Challenger | None:
        """The newest version that does not serve, or None. A pointer that cannot be read, or whose version is gone, is
        none: the next version replaces it."""
        found = read_challenger(self._folder(key))
        return found if found is not None and found.version in self.versions(key) else None

    def history(self, key: ModelKey) -> list[Champion]:
        """Promotions and rollbacks, oldest first. A line cut off by a crash is left out."""
        return read_history(self._folder(key))

    def manifest(self, key: ModelKey, version: str) -> Manifest:
        """The manifest of a version, read without checking the other files. Raises ModelError."""
        path = self._version_folder(key, version) / MANIFEST_FILE
        return _manifest(_read(path), path, key)

    def verify(self, key: ModelKey, version: str) -> Manifest:
        """Check every file of a version against its recorded sha256. Raises ModelError naming the first bad file."""
        return self._verified(key, version)[0]

    def files(self, key: ModelKey, version: str) -> dict[str, bytes]:
        """Every file of a version by its name, ``MANIFEST.sha256`` included, after verifying them."""
        contents = self._verified(key, version)[2]
        return {**contents, SUMS_FILE: _read(self._version_folder(key, version) / SUMS_FILE)}

    def sums(self, key: ModelKey) -> dict[str, bytes]:
        """``MANIFEST.sha256`` of every version: equal sums, equal versions."""
        return {version: _read(self._folder(key) / version / SUMS_FILE) for version in self.versions(key)}

    def load(self, key: ModelKey, version: str | None = None, *, schema_hash: str | None = None) -> Artefact:
        """Read a version (the champion when none is named) after verifying files, feature schema and libraries.

        Raises ModelError when there is no such version, when a file is corrupt, when the model was made for another
        feature catalogue than ``schema_hash`` or for another major release of a library that serves it.
        """
        if version is None:
            champion = self.champion(key)
            if champion is None:
                raise ModelError(f"{key}: no version has been promoted; train one with `tradebot retrain`")
            version = champion.version
        manifest, model, _ = self._verified(key, version)
        where = self._version_folder(key, version)
        if schema_hash is not None and manifest.inputs.schema_hash != schema_hash:
            raise ModelError(
                f"{where}: made for feature schema {manifest.inputs.schema_hash}, this release computes {schema_hash}; "
                "retrain the model"
            )
        require_major(manifest.lineage.libraries, str(where))
        return Artefact(key=key, version=version, manifest=manifest, model=model)

    def verify_pointer(self, key: ModelKey) -> None:
        """Check that the pointer, where there is one, can be read and names a version that is there and unchanged.

        Raises ModelError. The files of that version are not read: see :meth:`verify`.
        """
        champion = self.champion(key)
        if champion is None:
            return
        path = self._folder(key) / CHAMPION_FILE
        if champion.version not in self.versions(key):
            raise ModelError(f"{path}: names {champion.version}, which is not there; promote a version again")
        manifest = self.manifest(key, champion.version)
        if (manifest.sha256, manifest.provisional) != (champion.sha256, champion.provisional):
            raise ModelError(f"{path}: says something else of {champion.version} than its manifest; promote it again")

    def listings(self) -> list[Listing]:
        """Every version of every model; unreadable ones carry the reason instead of failing the whole list."""
        found = []
        for key in self.keys():
            champion, challenger, pointer_problem = None, None, ""
            try:
                champion = self.champion(key)
                challenger = self.challenger(key)
            except ModelError as error:
                pointer_problem = str(error)
            for version in self.versions(key):
                manifest, problem = None, ""
                try:
                    manifest = self.manifest(key, version)
                except ModelError as error:
                    problem = str(error)
                found.append(
                    Listing(
                        key=key,
                        version=version,
                        champion=champion is not None and champion.version == version,
                        previous=champion is not None and champion.previous == version,
                        challenger=challenger.state if challenger is not None and challenger.version == version else "",
                        manifest=manifest,
                        problem=problem,
                        pointer_problem=pointer_problem,
                    )
                )
        return found

    # --- writing ---------------------------------------------------------------------------------------------------

    def add(self, manifest: Manifest, files: Mapping[str, bytes]) -> str:
        """Store a new version and give its name. It does not serve until promoted: until then it is the challenger.

        ``files`` holds ``model.onnx`` and whatever belongs to it, in one folder below at most (``figures/x.png``);
        ``manifest.json`` and ``MANIFEST.sha256`` are written here. Raises ModelError when the files contradict the
        manifest, BusyError when the disk is full (nothing is left behind).
        """
        if MODEL_FILE not in files or sha256_hex(files[MODEL_FILE]) != manifest.sha256:
            raise ModelError(f"{manifest.key}: the manifest's sha256 is not that of {MODEL_FILE}")
        contents = {**files, MANIFEST_FILE: encode(manifest)}
        for name in contents:
            if not _FILE_NAME.fullmatch(name) or name == SUMS_FILE:
                raise ModelError(f"{name!r} cannot be a file of a model version")
        sums = "".join(f"{sha256_hex(contents[name])}  {name}\n" for name in sorted(contents))
        refused = manifest.gate.verdict == "refused"
        return self._write(
            manifest,
            {**contents, SUMS_FILE: sums.encode()},
            state="refused" if refused else "waiting",
            why=manifest.gate.reason,
            at_ms=manifest.lineage.as_of_ms,
        )

    def adopt(self, key: ModelKey, files: Mapping[str, bytes], *, why: str, at_ms: int) -> tuple[str, bool]:
        """Store a version that was made elsewhere, byte for byte as :meth:`files` gave it; its name here, and whether
        it is new here.

        Raises ModelError when any byte differs from its recorded sha256; what is here is never overwritten.
        """
        manifest, _, _ = _checked(dict(files), Path(str(key)), key)
        for version, known in self.sums(key).items():
            if known == files[SUMS_FILE]:
                return version, False
        return self._write(manifest, files, state="waiting", why=why, at_ms=at_ms), True

    def promote(self, key: ModelKey, version: str, *, who: str, why: str, verdict: str, at_ms: int) -> Champion:
        """Make a verified version the champion. The pointer moves in one step; failure leaves it where it was.

        Raises GateNotPassed for a version that may never serve (``research_only`` of its manifest).
        """
        self._version_folder(key, version)
        with self._writing(key):
            manifest = self.verify(key, version)
            if manifest.research_only:
                raise GateNotPassed(f"{key} {version}: is for research only and never serves: {manifest.research_only}")
            current = self._champion_if_readable(key)
            previous = None
            if current is not None:
                previous = current.previous if current.version == version else current.version
            pointer = Champion(
                version=version,
                previous=previous,
                action="promote",
                provisional=manifest.provisional,
                sha256=manifest.sha256,
                who=who,
                why=why,
                verdict=verdict,
                at_ms=at_ms,
            )
            move(self._folder(key), pointer)
            challenger = self.challenger(key)
            if challenger is not None and _number(challenger.version) <= _number(version):
                (self._folder(key) / CHALLENGER_FILE).unlink(missing_ok=True)
        return pointer

    def rollback(self, key: ModelKey, *, who: str, why: str, at_ms: int) -> Champion:
        """Go back to the version that served before the champion. Raises ModelError when there is none."""
        with self._writing(key):
            current = self.champion(key)
            if current is None or current.previous is None:
                raise ModelError(f"{key}: no earlier version to go back to")
            target = current.previous
            manifest = self.verify(key, target)
            promoted = [r for r in self.history(key) if r.version == target and r.action == "promote"]
            pointer = Champion(
                version=target,
                previous=promoted[-1].previous if promoted else None,
                action="rollback",
                provisional=manifest.provisional,
                sha256=manifest.sha256,
                who=who,
                why=why,
                verdict=promoted[-1].verdict if promoted else manifest.gate.verdict,
                at_ms=at_ms,
            )
            move(self._folder(key), pointer)
        return pointer

    def collect(self, key: ModelKey, *, keep: int = 3) -> tuple[str, ...]:
        """Delete old versions, keeping the last ``keep`` and always champion, its predecessor and challenger.

        Gives the names removed. With an unreadable pointer nothing is removed.
        """
        with self._writing(key):
            champion = self.champion(key)
            versions = self.versions(key)
            kept = set(versions[-max(keep, 1) :])
            if champion is not None:
                kept |= {champion.version, champion.previous or ""}
            if (challenger := self.challenger(key)) is not None:
                kept.add(challenger.version)
            removed = tuple(version for version in versions if version not in kept)
            folder = self._folder(key)
            for version in removed:
                doomed = folder / f".tmp-removed-{version}"
                os.rename(folder / version, doomed)  # gone in one step: nobody reads half a version
                shutil.rmtree(doomed, ignore_errors=True)
            if removed:
                fsync_directory(folder)
        return removed

    # --- inside ----------------------------------------------------------------------------------------------------

    def _verified(self, key: ModelKey, version: str) -> tuple[Manifest, bytes, dict[str, bytes]]:
        """Manifest, graph and all files but the sums, decoded from the very bytes whose hashes were checked."""
        folder = self._version_folder(key, version)
        contents = {
            path.relative_to(folder).as_posix(): _read(path) for path in sorted(folder.rglob("*")) if not path.is_dir()
        }
        if SUMS_FILE not in contents:
            raise ModelError(f"{folder / SUMS_FILE}: missing; the version is incomplete")
        return _checked(contents, folder, key)

    def _write(
        self,
        manifest: Manifest,
        contents: Mapping[str, bytes],
        *,
        state: Literal["refused", "waiting"],
        why: str,
        at_ms: int,
    ) -> str:
        """Give checked files the next number, in one rename, and name them the challenger."""
        folder = self._folder(manifest.key)
        with self._writing(manifest.key), disk_errors(folder):
            version = f"v{self._next_number(manifest.key):04d}"
            temporary = folder / f".tmp-{version}-{os.getpid()}"
            try:
                temporary.mkdir()
                for name in sorted(contents, key=lambda name: (name == SUMS_FILE, name)):
                    path = temporary / name
                    path.parent.mkdir(exist_ok=True)
                    write_synced(path, contents[name])
                for below in {(temporary / name).parent for name in contents} | {temporary}:
                    fsync_directory(below)
                # named first: a disk that is full now leaves no version, and a pointer to nothing is none
                challenger = Challenger(version=version, state=state, sha256=manifest.sha256, why=why, at_ms=at_ms)
                write_atomic(folder / CHALLENGER_FILE, encode(challenger))
                os.rename(temporary, folder / version)
            except BaseException:
                shutil.rmtree(temporary, ignore_errors=True)
                raise
            fsync_directory(folder)
        return version

    def _folder(self, key: ModelKey) -> Path:
        return self.root / key.symbol / f"{key.name}-{key.interval}"

    def _version_folder(self, key: ModelKey, version: str) -> Path:
        folder = self._folder(key) / version
        if not _VERSION.fullmatch(version) or not folder.is_dir():
            known = ", ".join(self.versions(key)[-5:]) or "none"
            raise ModelError(f"{key}: there is no version {version!r} (known: {known})")
        return folder

    def _complete(self, key: ModelKey) -> list[int]:
        folder = self._folder(key)
        paths = list(folder.iterdir()) if folder.is_dir() else []
        return [_number(path.name) for path in paths if _number(path.name) and (path / SUMS_FILE).is_file()]

    def _next_number(self, key: ModelKey) -> int:
        """One more than any number ever used, so a name never means two models."""
        names = [path.name for path in self._folder(key).iterdir()]
        names += [record.version for record in self.history(key)]
        return max(map(_number, names), default=0) + 1

    def _champion_if_readable(self, key: ModelKey) -> Champion | None:
        """A broken pointer must not keep a good version from being promoted."""
        try:
            return self.champion(key)
        except ModelError:
            records = self.history(key)
            return records[-1] if records else None

    @contextlib.contextmanager
    def _writing(self, key: ModelKey) -> Iterator[None]:
        folder = self._folder(key)
        with disk_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
        with locked(folder / ".lock", wait_s=self._lock_wait_s, what=f"model store {folder}"):
            for leftover in folder.glob(".tmp-*"):
                shutil.rmtree(leftover, ignore_errors=True)
            for leftover in folder.glob(".*.tmp"):
                leftover.unlink(missing_ok=True)
            yield


def _number(name: str) -> int:
    match = _VERSION.fullmatch(name)
    return int(match[1]) if match else 0


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise ModelError(f"{path}: missing; the version is incomplete") from error
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror})") from error


def _checked(contents: dict[str, bytes], where: Path, key: ModelKey) -> tuple[Manifest, bytes, dict[str, bytes]]:
    """Manifest, graph and files of a version, every one checked against the sums among them. Raises ModelError."""
    if SUMS_FILE not in contents:
        raise ModelError(f"{where / SUMS_FILE}: missing; the version is incomplete")
    recorded = sums_of(contents[SUMS_FILE], str(where / SUMS_FILE))
    files = {name: content for name, content in contents.items() if name != SUMS_FILE}
    for name in sorted({MODEL_FILE, MANIFEST_FILE} | recorded.keys() | files.keys()):
        if name not in files:
            raise ModelError(f"{where / name}: missing; the version is incomplete")
        if name not in recorded:
            raise ModelError(f"{where / name}: not listed in {SUMS_FILE}; versions never change")
        if sha256_hex(files[name]) != recorded[name]:
            raise ModelError(f"{where / name}: content differs from its recorded sha256; the file is corrupt")
    manifest = _manifest(files[MANIFEST_FILE], where / MANIFEST_FILE, key)
    if recorded[MODEL_FILE] != manifest.sha256:
        raise ModelError(f"{where / MANIFEST_FILE}: names another {MODEL_FILE} (sha256 differs)")
    return manifest, files[MODEL_FILE], files


def _manifest(content: bytes, path: Path, key: ModelKey) -> Manifest:
    manifest = decode_manifest(content, str(path))
    if manifest.key != key:
        raise ModelError(f"{path}: is the manifest of {manifest.key}, not of {key}")
    return manifest


def sums_of(content: bytes, where: str) -> dict[str, str]:
    """File name → SHA-256 as ``MANIFEST.sha256`` records them. Raises ModelError for a line that is none."""
    sums = {}
    for line in content.decode("utf-8", "replace").splitlines():
        match = _SUM_LINE.fullmatch(line)
        if match is None:
            raise ModelError(f"{where}: damaged line {line[:40]!r}")
        sums[match[2]] = match[1]
    return sums
