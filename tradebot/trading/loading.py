"""Finding the user's strategy class by name, and telling one version of the code from another."""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import sys
import traceback
from pathlib import Path

import tradebot
from tradebot.errors import ConfigError
from tradebot.trading.strategy import HOOKS, Strategy, hooks_of


def load_strategy(folder: Path, name: str) -> tuple[type[Strategy], str]:
    """The one Strategy class defined in ``folder/name.py`` and the SHA-256 of that file.

    Raises ConfigError that names file and line when the file is missing, does not import, or defines none or several.
    """
    path = folder / f"{name}.py"
    if not name.isidentifier() or not path.is_file():
        known = ", ".join(sorted(p.stem for p in folder.glob("*.py") if not p.stem.startswith("_"))) or "none"
        raise ConfigError(f"strategy.name: no strategy {name!r} in {folder} (found: {known})")
    source = path.read_bytes()
    digest = hashlib.sha256(source).hexdigest()
    spec = importlib.util.spec_from_file_location(f"tradebot_strategies_{name}_{digest[:12]}", path)
    if spec is None or spec.loader is None:
        raise ConfigError(f"{path}: not a Python module")
    module = importlib.util.module_from_spec(spec)
    sys.modules[module.__name__] = module  # where the annotations of its parameters are looked up
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        raise ConfigError(f"{path}:{error.lineno}: {error.msg}") from None
    except Exception as error:  # user code may raise anything; the reader needs the line, not our stack
        line = next(
            (f.lineno for f in reversed(traceback.extract_tb(error.__traceback__)) if f.filename == str(path)), 0
        )
        raise ConfigError(f"{path}:{line}: {type(error).__name__}: {error}") from None
    found = [
        c
        for c in vars(module).values()
        if inspect.isclass(c) and issubclass(c, Strategy) and c is not Strategy and c.__module__ == module.__name__
    ]
    if len(found) != 1:
        raise ConfigError(f"{path}: expected exactly one Strategy class, found {len(found)}")
    if not hooks_of(found[0]):
        raise ConfigError(f"{path}: {found[0].__name__} defines none of {', '.join(HOOKS)}")
    return found[0], digest


def engine_hash() -> str:
    """SHA-256 over the source of everything that can change a decision."""
    root = Path(tradebot.__file__).parent
    digest = hashlib.sha256()
    for room in ("market", "events", "features", "trading"):
        for path in sorted((root / room).glob("*.py")):
            digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()
