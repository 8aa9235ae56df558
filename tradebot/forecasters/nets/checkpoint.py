"""A run as it stands after an epoch, on disk: the old file or the new one, never half of one."""

from __future__ import annotations

import hashlib
import io
import logging
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from tradebot.errors import DataError
from tradebot.forecasters.nets.rows import Resident
from tradebot.ops.files import disk_error, replacing

log = logging.getLogger(__name__)


def save(path: Path, state: Mapping[str, Any]) -> None:
    """Raises BusyError when the disk is full, DataError when the file cannot be written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as file:
        torch.save(dict(state), file)


def load(path: Path, run: str) -> dict[str, Any] | None:
    """The state of run ``run`` (``fingerprint``); None when there is none, or one of another run. Nothing is executed.

    Raises DataError when the file cannot be read.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise disk_error("read", path, error) from error
    try:
        state: dict[str, Any] = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        own = state["run"] == run
    except (RuntimeError, KeyError, TypeError, ValueError, EOFError, pickle.UnpicklingError) as error:
        raise DataError(f"{path}: is no checkpoint of a net; delete it and start again") from error
    if not own:
        log.warning("%s is of another run (other rows or settings); training starts from the beginning", path)
        return None
    return state


def fingerprint(settings: bytes, net: torch.nn.Module, *rows: Resident) -> str:
    """What a run depends on: settings, the net's form and first weights, and every row, target and weight."""
    digest = hashlib.sha256(settings)
    for name, tensor in net.state_dict().items():
        digest.update(f"{name}{tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    for part in rows:
        for tensor in (part.base, part.index, part.target, part.weight):
            digest.update(f"{tuple(tensor.shape)}".encode())
            digest.update(tensor.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def packed(net: torch.nn.Module, config: Mapping[str, Any]) -> bytes:
    """A ``.pt`` file: ``{"config", "state_dict"}``, read with ``torch.load(..., weights_only=True)``."""
    buffer = io.BytesIO()
    torch.save({"config": dict(config), "state_dict": net.state_dict()}, buffer)
    return buffer.getvalue()
