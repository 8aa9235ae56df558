"""Finding the user's strategy class by name, and telling one version of the code from another."""

from __future__ import annotations

import ast
import difflib
import hashlib
import inspect
import keyword
import sys
from pathlib import Path
from types import ModuleType

import msgspec

import tradebot
from tradebot.errors import ConfigError
from tradebot.trading.blame import line_of
from tradebot.trading.purity import require_pure
from tradebot.trading.strategy import HOOKS, Strategy, hooks_of


def is_strategy_name(name: str) -> bool:
    """Whether a strategy may be called so: it is the name of its file."""
    private = name.startswith(("_", "test_")) or keyword.iskeyword(name)
    return name.isidentifier() and name.isascii() and name == name.lower() and not private


def strategy_names(folder: Path) -> list[str]:
    """The strategies of a folder, sorted."""
    return sorted(path.stem for path in folder.glob("*.py") if is_strategy_name(path.stem))


def load_strategy(folder: Path, name: str) -> tuple[type[Strategy], str]:
    """The one Strategy class defined in ``folder/name.py`` and the SHA-256 of that file.

    Raises ConfigError that names file and line when the file is missing, uses what a strategy may not use, does not
    import, or defines none or several.
    """
    path = folder / f"{name}.py"
    if not name.isidentifier() or not path.is_file():
        known = ", ".join(strategy_names(folder)) or "none"
        raise ConfigError(f"strategy.name: no strategy {name!r} in {folder} (found: {known})")
    try:
        source = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}") from None
    digest = hashlib.sha256(source).hexdigest()
    tree = require_pure(source, str(path))
    module = _executed(tree, path, f"tradebot_strategies_{name}_{digest[:12]}")
    found = [
        c
        for c in vars(module).values()
        if inspect.isclass(c) and issubclass(c, Strategy) and c is not Strategy and c.__module__ == module.__name__
    ]
    if len(found) != 1:
        lines = ", ".join(f"{c.__name__} in line {_class_line(tree, c)}" for c in found)
        raise ConfigError(f"{path}: expected exactly one Strategy class, found {lines or 'none'}")
    _check(found[0], path, _class_line(tree, found[0]))
    return found[0], digest


def _executed(tree: ast.Module, path: Path, name: str) -> ModuleType:
    """The module that ``tree`` is. What runs is what was looked at and hashed: no cached byte code comes between."""
    module = ModuleType(name)
    module.__file__ = str(path)
    sys.modules[name] = module  # where the annotations of its parameters are looked up
    try:
        exec(compile(tree, str(path), "exec", dont_inherit=True), module.__dict__)
    except (Exception, SystemExit) as error:  # user code may raise anything; the reader needs the line, not our stack
        del sys.modules[name]
        line = line_of(error, str(path)) or getattr(error, "lineno", 0)
        raise ConfigError(f"{path}:{line}: {type(error).__name__}: {error}") from None
    return module


def _check(cls: type[Strategy], path: Path, line: int) -> None:
    """Everything that is wrong with the class and can be told before it runs."""
    for name, member in vars(cls).items():
        if not name.startswith("on_") or not inspect.isfunction(member):
            continue
        at = f"{path}:{member.__code__.co_firstlineno}"
        if name not in HOOKS:
            near = difflib.get_close_matches(name, HOOKS, 1)
            hint = f"; did you mean {near[0]}?" if near else f" (there are {', '.join(HOOKS)})"
            raise ConfigError(f"{at}: {name} is no hook{hint}")
        if inspect.isgeneratorfunction(member):
            raise ConfigError(f"{at}: {name} must return an Intent, not yield")
        wanted = list(inspect.signature(getattr(Strategy, name)).parameters)
        try:
            inspect.signature(member).bind(*wanted)
        except TypeError:
            raise ConfigError(f"{at}: {name} must take ({', '.join(wanted)})") from None
    if not hooks_of(cls):
        raise ConfigError(f"{path}:{line}: {cls.__name__} defines none of {', '.join(HOOKS)}")
    params = cls.Params
    if not (inspect.isclass(params) and issubclass(params, msgspec.Struct)):
        raise ConfigError(f"{path}:{line}: {cls.__name__}.Params must be a msgspec.Struct")
    if params is not msgspec.Struct and not params.__struct_config__.frozen:
        raise ConfigError(f"{path}:{line}: {params.__name__} must be frozen: msgspec.Struct, frozen=True")


def _class_line(tree: ast.Module, cls: type) -> int:
    lines = (n.lineno for n in ast.walk(tree) if isinstance(n, ast.ClassDef) and n.name == cls.__name__)
    return next(lines, 1)


def engine_hash() -> str:
    """SHA-256 over the source of everything that can change a decision."""
    root = Path(tradebot.__file__).parent
    digest = hashlib.sha256()
    for room in ("market", "events", "features", "trading"):
        for path in sorted((root / room).glob("*.py")):
            digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()
