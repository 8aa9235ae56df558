"""A version outside the store: a folder, a tar file, or a folder laid out as MLflow keeps models."""

from __future__ import annotations

import gzip
import io
import json
import os
import platform
import shutil
import tarfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from tradebot.errors import DataError, ModelError
from tradebot.ops.files import fsync_directory, write_atomic
from tradebot.registry.card import model_card
from tradebot.registry.durable import disk_errors, write_synced
from tradebot.registry.manifest import Manifest, ModelKey
from tradebot.registry.store import MODEL_FILE, ModelStore

TAR_ENDINGS = (".tar", ".tar.gz", ".tgz")
CARD_FILE = "README.md"


def export_version(store: ModelStore, key: ModelKey, version: str, target: Path, *, mlflow: bool = False) -> list[str]:
    """Write a verified version to ``target``: a new folder, or a tar file where the name ends in ``.tar``, ``.tar.gz``
    or ``.tgz``; a model card is added. ``mlflow``: as MLflow's ONNX flavour reads it. Gives the names written.

    Equal versions give equal bytes. Raises DataError when ``target`` is there already, ModelError for a version that is
    not whole, BusyError when the disk is full; then nothing is left behind.
    """
    manifest = store.manifest(key, version)
    champion = store.champion(key)
    card = model_card(manifest, version, serves=champion is not None and champion.version == version)
    files = {**store.files(key, version), CARD_FILE: card.encode()}
    if mlflow:
        files = _mlflow(manifest, files)
    if target.exists():
        raise DataError(f"{target}: is there already; an export never overwrites, name another place")
    with disk_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
    if target.name.endswith(TAR_ENDINGS):
        inside = f"{key.symbol}-{key.name}-{key.interval}-{version}"
        content = _tar({f"{inside}/{name}": body for name, body in files.items()})
        write_atomic(target, content if target.suffix == ".tar" else gzip.compress(content, mtime=0))
    else:
        _folder(target, files)
    return sorted(files)


def _folder(target: Path, files: Mapping[str, bytes]) -> None:
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    with disk_errors(target):
        try:
            temporary.mkdir()
            for name, content in files.items():
                path = temporary / name
                path.parent.mkdir(exist_ok=True)
                write_synced(path, content)
            for below in {(temporary / name).parent for name in files} | {temporary}:
                fsync_directory(below)
            os.rename(temporary, target)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        fsync_directory(target.parent)


def _tar(files: Mapping[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, content in sorted(files.items()):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o644
            archive.addfile(entry, io.BytesIO(content))
    return packed.getvalue()


def _mlflow(manifest: Manifest, files: Mapping[str, bytes]) -> dict[str, bytes]:
    """MLflow's "MLmodel" format with the flavours ``onnx`` and ``python_function`` (mlflow.org/docs, ML Models): what
    ``mlflow.onnx.load_model`` reads, written without MLflow. The rest of the version lies under ``tradebot/``."""
    if any("/" in name for name in files if not name.startswith("figures/")):
        raise ModelError(f"{manifest.key}: holds folders that this layout has no place for")
    recorded = manifest.lineage.libraries
    needs = [f"{name}=={recorded[name]}" for name in ("numpy", "onnx", "onnxruntime") if name in recorded]
    shape = [-1, *manifest.inputs.row_shape]
    signature = {
        "inputs": _tensors([(manifest.inputs.tensor, shape)]),
        "outputs": _tensors([(output.tensor, [-1, len(output.columns)]) for output in manifest.outputs]),
    }
    python = platform.python_version()
    description = {
        "flavors": {
            "onnx": {"data": MODEL_FILE, "onnx_version": recorded.get("onnx", ""), "code": None,
                     "providers": ["CPUExecutionProvider"], "onnx_session_options": None},
            "python_function": {"loader_module": "mlflow.onnx", "data": MODEL_FILE, "python_version": python,
                                "env": {"conda": "conda.yaml", "virtualenv": "python_env.yaml"}},
        },
        "metadata": {"tradebot_model": str(manifest.key), "tradebot_sha256": manifest.sha256,
                     "tradebot_gate": manifest.gate.verdict},
        "model_uuid": manifest.sha256[:32],
        "signature": signature,
        "utc_time_created": datetime.fromtimestamp(manifest.lineage.as_of_ms / 1000, UTC).strftime(
            "%Y-%m-%d %H:%M:%S.%f"
        ),
    }  # fmt: skip
    conda = {"channels": ["conda-forge"], "name": "mlflow-env",
             "dependencies": [f"python={python}", "pip", {"pip": ["mlflow", *needs]}]}  # fmt: skip
    return {
        "MLmodel": _yaml(description),
        "conda.yaml": _yaml(conda),
        "python_env.yaml": _yaml({"python": python, "dependencies": ["-r requirements.txt"]}),
        "requirements.txt": "".join(f"{line}\n" for line in ("mlflow", *needs)).encode(),
        MODEL_FILE: files[MODEL_FILE],
        CARD_FILE: files[CARD_FILE],
        **{name if "/" in name else f"tradebot/{name}": content for name, content in files.items()
           if name not in (MODEL_FILE, CARD_FILE)},
    }  # fmt: skip


def _tensors(named: list[tuple[str, list[int]]]) -> str:
    return json.dumps(
        [{"name": name, "type": "tensor", "tensor-spec": {"dtype": "float32", "shape": shape}} for name, shape in named]
    )


def _yaml(value: object) -> bytes:
    """JSON is YAML (yaml.org/spec/1.2.2, section 1.3)."""
    return json.dumps(value, indent=1).encode() + b"\n"
