"""What a strategy's file may use: nothing that tells the time, reaches the network, the disk or a secret.

A guard against mistakes, not a prison: decisions could not be replayed, and what stands in the file would run with the
bot's key in the same process. It looks at the source before anything of it runs.
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterator

from tradebot.errors import ConfigError

MODULES = frozenset({
    "__future__", "abc", "bisect", "cmath", "collections", "collections.abc", "copy", "dataclasses", "decimal", "enum",
    "fractions", "functools", "heapq", "itertools", "math", "msgspec", "numbers", "numpy", "numpy.linalg",
    "numpy.typing", "operator", "re", "statistics", "string", "textwrap", "types", "typing",
})  # fmt: skip
"""What may be imported."""
ROOMS = ("tradebot.events", "tradebot.features", "tradebot.market")
PARTS = frozenset({f"tradebot.trading.{name}" for name in ("exits", "indicators", "sizing", "strategy")})
NUMPY = frozenset({
    "core", "ctypeslib", "datetime64", "distutils", "f2py", "fromfile", "fromregex", "genfromtxt", "lib", "load",
    "loadtxt", "memmap", "random", "save", "savetxt", "savez", "savez_compressed", "testing",
})  # fmt: skip
"""What of numpy is chance, clock or disk."""
BUILTINS = frozenset({
    "__import__", "breakpoint", "compile", "delattr", "eval", "exec", "exit", "globals", "hash", "help", "id", "input",
    "locals", "open", "print", "quit", "vars",
})  # fmt: skip
"""Of these some reach out of the strategy, the others say something else in every process."""
MARKED = frozenset({"__doc__", "__init__", "__name__", "__post_init__"})
"""The only names with two underscores that a strategy may ask an object for."""
ALLOWED = "math, collections, dataclasses, decimal, itertools, statistics, typing, msgspec, numpy, tradebot.events, …"


def require_pure(source: bytes, where: str) -> ast.Module:
    """The syntax tree of a strategy's ``source``. Raises ConfigError that names file and line."""
    try:
        tree = ast.parse(source, where)
    except SyntaxError as error:
        raise ConfigError(f"{where}:{error.lineno or 1}: {error.msg}") from None
    except ValueError as error:
        raise ConfigError(f"{where}:1: {error}") from None
    bound = {name for node in ast.walk(tree) for name in _bound(node)}
    numpy = {"numpy"} | {name for node in ast.walk(tree) for name in _names_of_numpy(node)}
    for node in ast.walk(tree):
        for problem in _problems(node, bound, numpy):
            raise ConfigError(f"{where}:{getattr(node, 'lineno', 1)}: {problem}")
    return tree


def _problems(node: ast.AST, bound: set[str], numpy: set[str]) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (_no(alias.name) for alias in node.names if not _allowed(alias.name))
    elif isinstance(node, ast.ImportFrom):
        if node.level:
            yield "a strategy is one file; it may not import another strategy"
        elif not _allowed(node.module or "") and not all(_allowed(f"{node.module}.{a.name}") for a in node.names):
            yield _no(node.module or "")
        elif node.module == "numpy":
            yield from (_no(f"numpy.{a.name}") for a in node.names if a.name in NUMPY)
    elif isinstance(node, ast.Attribute):
        if node.attr.startswith("__") and node.attr.endswith("__") and node.attr not in MARKED:
            yield f"a strategy may not use {node.attr}"
        elif node.attr in NUMPY and isinstance(node.value, ast.Name) and node.value.id in numpy:
            yield _no(f"numpy.{node.attr}")
    elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
        if node.id in BUILTINS and node.id not in bound and hasattr(builtins, node.id):
            yield f"a strategy may not use {node.id}(): it has no clock, network, files or secrets"
    elif isinstance(node, ast.AsyncFunctionDef | ast.Await):
        yield "a strategy waits for nothing: def, not async def"


def _allowed(module: str) -> bool:
    return module in MODULES or module in PARTS or any(module == r or module.startswith(f"{r}.") for r in ROOMS)


def _no(module: str) -> str:
    return f"a strategy may not import {module}: it has no clock, network, files or secrets (allowed: {ALLOWED})"


def _bound(node: ast.AST) -> Iterator[str]:
    """Names that a node gives a meaning of the file's own."""
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
        yield node.id
    elif isinstance(node, ast.arg):
        yield node.arg
    elif isinstance(node, ast.FunctionDef | ast.ClassDef):
        yield node.name
    elif isinstance(node, ast.alias):
        yield node.asname or node.name


def _names_of_numpy(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.asname for alias in node.names if alias.name == "numpy" and alias.asname)
