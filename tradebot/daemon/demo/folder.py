"""The demo's state directory: whose it is, that it begins empty, and that one demo at a time uses it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from tradebot.errors import BusyError, ConfigError, DataError
from tradebot.ops.files import disk_error, make_private
from tradebot.registry.durable import acquire

STATE = Path("state/demo")
MARKER = "this-is-a-demo"
LOGS = "logs"


@contextmanager
def sole_user(state: Path) -> Iterator[None]:
    """Hold the lock beside ``state``, which outlives the directory. Raises BusyError when another demo has it."""
    folder = state.absolute()
    make_private(folder.parent)
    held = acquire(folder.parent / f"{folder.name}.lock")
    if held is None:
        raise BusyError(f"{state} is in use by another demo; wait for its end or choose another one with --state")
    try:
        yield
    finally:
        os.close(held)


def clear(state: Path) -> None:
    """Begin with an empty state directory; one that no demo made, or that a daemon uses, is never removed."""
    try:
        if state.exists() and any(state.iterdir()):
            if not (state / MARKER).exists():
                raise ConfigError(f"--state {state}: not an old demo's directory and not empty; choose another one")
            owned = acquire(state / "lock")
            if owned is None:
                raise BusyError(f"{state} is in use by a running daemon; stop it or choose another one with --state")
            os.close(owned)
            shutil.rmtree(state)
        make_private(state)
        (state / MARKER).touch()
    except OSError as error:
        raise DataError(f"cannot prepare {state}: {error.strerror or error}") from error


def open_log(path: Path) -> BinaryIO:
    """A file for what a child process says on stderr, for this user alone. Raises BusyError, DataError."""
    make_private(path.parent)
    try:
        return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600), "wb")
    except OSError as error:
        raise disk_error("write", path, error) from error
