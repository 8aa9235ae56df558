"""defaults < config.yaml < environment < command line → one validated tree, with the origin of each value.

Everything that is wrong is reported at once, each problem on its own line with file, line and column (or the
environment variable) it stands in.
"""

from __future__ import annotations

import difflib
import os
import re
import sysconfig
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from tradebot.errors import ConfigError
from tradebot.ops.documents import place_of, read_yaml, value_of
from tradebot.settings.credentials import CREDENTIAL_ENV, HUB_ENV, SECRET_NAME, TARDIS_ENV, URL_PASSWORD, secret_remedy
from tradebot.settings.tree import Settings, contradictions

Layer = Literal["default", "file", "environment", "command line"]

ENV_PREFIX = "TRADEBOT_"
ENV_RESERVED = {"TRADEBOT_CONFIG", "TRADEBOT_SHARED", TARDIS_ENV, HUB_ENV, *CREDENTIAL_ENV.values()}
_PATHS = ("state_dir", "model_store", "strategies_dir")


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value comes from. ``where`` is ``config.yaml:5:3`` or the variable's name."""

    layer: Layer
    where: str


@dataclass(frozen=True, slots=True)
class LoadedSettings:
    """The settings, where each leaf came from (dotted key → origin) and the file that was read, if any."""

    settings: Settings
    origins: dict[str, Origin]
    path: Path | None


@dataclass(frozen=True, slots=True)
class _Value:
    value: object
    origin: Origin


# --- the tree of keys -----------------------------------------------------------------------------------------------


def leaves(model: type[BaseModel] = Settings, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every dotted key with its annotation, in file order."""
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from leaves(field.annotation, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", field.annotation


_LEAVES: dict[str, Any] = dict(leaves())
_SECTIONS = {key.rpartition(".")[0] for key in _LEAVES} - {""}


def _suggestion(key: str) -> str:
    """``, did you mean 'x'?`` for an unknown dotted key, or nothing."""
    section, _, name = key.rpartition(".")
    known = {*_LEAVES, *_SECTIONS}
    siblings = [k.rpartition(".")[2] for k in known if k.rpartition(".")[0] == section]
    close = difflib.get_close_matches(name, siblings, 1, 0.6)
    if not close:
        by_name = {k.rpartition(".")[2]: k for k in known}
        close = [by_name[n] for n in difflib.get_close_matches(name, by_name, 1, 0.8)]
    return f", did you mean {close[0]!r}?" if close else ""


# --- layers ---------------------------------------------------------------------------------------------------------


def find_config(path: Path | None) -> Path | None:
    """The configuration file to read: the given one, ``$TRADEBOT_CONFIG``, ``./config.yaml``, or systemd's.

    Raises ConfigError when a named one does not exist, or when one of the usual places cannot be looked into. None:
    there is none, defaults hold.
    """
    named = path or (Path(text) if (text := os.environ.get("TRADEBOT_CONFIG")) else None)
    if named is not None:
        if named.is_dir():
            raise ConfigError(f"{named}: is a directory; name the configuration file in it")
        if not named.is_file():
            source = "--config" if path else "TRADEBOT_CONFIG"
            raise ConfigError(f"{named}: no such configuration file (named by {source})")
        return named
    folders = ["."] + [d for d in os.environ.get("CONFIGURATION_DIRECTORY", "").split(":") if d]
    return next((file for d in folders if _is_there(file := Path(d) / "config.yaml")), None)


def _is_there(path: Path) -> bool:
    """Whether anything has that name: what is there and is no readable file must not be passed over."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from None
    return True


def _read_file(path: Path, problems: list[str]) -> dict[str, _Value]:
    """The leaves that the file sets. Unknown and repeated keys and secrets go to ``problems``."""
    root = read_yaml(path)
    found: dict[str, _Value] = {}
    if root is None:
        return found
    if not isinstance(root, yaml.MappingNode):
        raise ConfigError(f"{place_of(path, root)}: expected keys with values, like 'mode: paper'")
    _walk(path, root, "", found, problems)
    return found


def _walk(path: Path, node: yaml.MappingNode, prefix: str, found: dict[str, _Value], problems: list[str]) -> None:
    seen: set[str] = set()
    for key_node, value_node in node.value:
        place = place_of(path, key_node)
        name = str(key_node.value) if isinstance(key_node, yaml.ScalarNode) else "?"
        name = name if name.isprintable() else ascii(name)
        key = f"{prefix}{name}"
        if name in seen:
            problems.append(f"{place}: {key}: given twice")
            continue
        seen.add(name)
        if key not in _LEAVES and SECRET_NAME.fullmatch(name):
            problems.append(f"{place}: {key}: {secret_remedy(name)}")
        elif isinstance(value_node, yaml.ScalarNode) and URL_PASSWORD.search(str(value_node.value)):
            remedy = f"TRADEBOT_{key.upper().replace('.', '__')}"
            problems.append(
                f"{place}: {key}: a password does not belong in a configuration file; put the address into {remedy}"
            )
        elif key in _SECTIONS:
            if isinstance(value_node, yaml.MappingNode):
                _walk(path, value_node, f"{key}.", found, problems)
            elif not (isinstance(value_node, yaml.ScalarNode) and value_node.tag.endswith(":null")):
                problems.append(f"{place_of(path, value_node)}: {key}: expected a section of keys")
        elif key in _LEAVES or prefix == "strategy.params.":
            if key == "strategy.params" and isinstance(value_node, yaml.MappingNode):
                _walk(path, value_node, f"{key}.", found, problems)
                continue
            try:
                value = value_of(value_node)
            except ValueError as error:
                problems.append(f"{place_of(path, value_node)}: {key}: {error}")
                continue
            found[key] = _Value(value, Origin("file", place_of(path, value_node)))
        else:
            problems.append(f"{place}: {key}: unknown key{_suggestion(key)}")


def _read_environment(environ: Mapping[str, str], problems: list[str]) -> dict[str, _Value]:
    found: dict[str, _Value] = {}
    for variable in sorted(environ):
        if not variable.startswith(ENV_PREFIX) or variable in ENV_RESERVED:
            continue
        key = variable[len(ENV_PREFIX) :].lower().replace("__", ".")
        if key not in _LEAVES and not re.fullmatch(r"strategy\.params\.\w+", key):
            problems.append(f"environment {variable}: {key}: unknown key{_suggestion(key)}")
            continue
        found[key] = _Value(_from_text(key, environ[variable]), Origin("environment", variable))
    return found


def _from_text(key: str, text: str) -> object:
    """A value written as text outside YAML, read as the key's type asks for."""
    annotation = _LEAVES.get(key)
    options = typing.get_args(annotation) if isinstance(annotation, types.UnionType) else (annotation,)
    if annotation is not None and any(option in (str, Path) or _is_literal(option) for option in options):
        return None if text == "null" and type(None) in options else text
    if typing.get_origin(annotation) is tuple and not text.lstrip().startswith("["):
        text = f"[{text}]"
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text


def _is_literal(option: object) -> bool:
    return typing.get_origin(option) is Literal


# --- together -------------------------------------------------------------------------------------------------------


def load_settings(
    path: Path | None = None,
    overrides: Mapping[str, object] | None = None,
    environ: Mapping[str, str] | None = None,
) -> LoadedSettings:
    """Read all layers. ``path`` None: look in the usual places. ``overrides`` are dotted keys of the command line.

    Raises ConfigError that lists everything that is wrong, one line each.
    """
    file = find_config(path)
    problems: list[str] = []
    values = _read_file(file, problems) if file else {}
    values |= _read_environment(os.environ if environ is None else environ, problems)
    for key, value in (overrides or {}).items():
        if key not in _LEAVES and not key.startswith("strategy.params."):
            problems.append(f"command line: {key}: unknown key{_suggestion(key)}")
        else:
            values[key] = _Value(value, Origin("command line", "command line"))

    tree: dict[str, Any] = {}
    for key, item in sorted(values.items()):
        *sections, name = key.split(".")
        branch = tree
        for section in sections:
            inner = branch.setdefault(section, {})
            if not isinstance(inner, dict):  # strategy.params itself is not a mapping; reported below
                break
            branch = inner
        else:
            branch[name] = dict(item.value) if isinstance(item.value, dict) else item.value
    try:
        settings = Settings.model_validate(tree)
    except ValidationError as error:
        problems += _describe(error, values)
        raise ConfigError("\n".join(_in_order(problems))) from None
    problems += [f"{_where(values, key)}: {key}: {what}" for key, what in contradictions(settings)]
    if problems:
        raise ConfigError("\n".join(_in_order(problems)))

    origins = {key: values[key].origin if key in values else Origin("default", "default") for key in _LEAVES}
    origins |= {key: item.origin for key, item in values.items() if key.startswith("strategy.params.")}
    return LoadedSettings(_absolute(settings, origins, file), origins, file)


def default_settings() -> LoadedSettings:
    """The defaults alone: no file, no environment. Paths count from the working directory."""
    origins = {key: Origin("default", "default") for key in _LEAVES}
    return LoadedSettings(_absolute(Settings(), origins, None), origins, None)


def _absolute(settings: Settings, origins: Mapping[str, Origin], file: Path | None) -> Settings:
    """Paths of the file and the defaults count from the file's folder, all others from the working directory."""
    beside = file.resolve().parent if file else Path.cwd()

    def absolute(name: str, path: str | Path) -> Path:
        base = beside if origins[name].layer in ("file", "default") else Path.cwd()
        return Path(os.path.abspath(base / Path(path).expanduser()))

    resolved: dict[str, object] = {name: absolute(name, getattr(settings, name)) for name in _PATHS}
    if "://" not in settings.data.root:
        root = str(absolute("data.root", settings.data.root))
        resolved["data"] = settings.data.model_copy(update={"root": root})
    if settings.strategies_dir == Settings().strategies_dir:
        folder = absolute("strategies_dir", settings.strategies_dir)
        resolved["strategies_dir"] = strategies_folder(folder, settings.strategy.name)
    return settings.model_copy(update=resolved)


def strategies_folder(folder: Path, name: str) -> Path:
    """``folder`` where it holds the strategy ``name``, else the folder of those that come with tradebot.

    Where neither holds it, ``folder`` if there is one: that is where its author looks for it.
    """
    shipped = shipped_strategies()
    if (folder / f"{name}.py").is_file() or (folder.is_dir() and not (shipped / f"{name}.py").is_file()):
        return folder
    return shipped


def shipped_strategies() -> Path:
    """Where the strategies that come with tradebot are."""
    checkout = Path(__file__).resolve().parents[2]
    if (checkout / "pyproject.toml").is_file():
        return checkout / "strategies"
    return installed_strategies()


def installed_strategies() -> Path:
    """Where an installation that is no checkout has them (``data-files`` in pyproject.toml)."""
    return Path(sysconfig.get_path("data")) / "share" / "tradebot" / "strategies"


def _where(values: Mapping[str, _Value], key: str) -> str:
    item = values.get(key)
    if item is None:
        return "default"
    return f"environment {item.origin.where}" if item.origin.layer == "environment" else item.origin.where


def _in_order(problems: list[str]) -> list[str]:
    """Without repetition, sorted by line and column where there are some."""

    def position(problem: str) -> tuple[str, int, int]:
        match = re.match(r"(.*?):(\d+):(\d+): ", problem)
        return (match[1], int(match[2]), int(match[3])) if match else ("~", 0, 0)

    return sorted(dict.fromkeys(problems), key=position)


def _describe(error: ValidationError, values: Mapping[str, _Value]) -> list[str]:
    lines: dict[str, str] = {}
    for detail in error.errors(include_url=False):
        path = [str(part) for part in detail["loc"]]
        keys = [".".join(path[:n]) for n in range(len(path), 0, -1)]
        key = next((k for k in keys if k in values or k in _LEAVES), ".".join(path))
        lines.setdefault(key, f"{_where(values, key)}: {key}: {_message(detail)}")
    return list(lines.values())


def _message(detail: ErrorDetails) -> str:
    kind, context, given = detail["type"], detail.get("ctx", {}), detail["input"]
    got = "nothing" if given is None else repr(given)
    got = got if len(got) <= 60 else got[:57] + "..."
    if kind == "literal_error":
        expected = str(context["expected"]).replace("'", "").replace(" or ", ", ")
        close = difflib.get_close_matches(str(given), expected.split(", "), 1, 0.6)
        return f"expected one of {expected}, got {got}" + (f", did you mean {close[0]!r}?" if close else "")
    if kind == "value_error":
        text = str(context["error"])
        return text if "got " in text or "'" in text else f"{text}, got {got}"
    bounds = {
        "greater_than": ("more than", "gt"),
        "greater_than_equal": ("at least", "ge"),
        "less_than": ("less than", "lt"),
        "less_than_equal": ("at most", "le"),
    }
    if kind in bounds:
        word, name = bounds[kind]
        return f"must be {word} {context[name]}, is {given}"
    expected_types = {
        "int": "a whole number",
        "bool": "true or false",
        "string": "text",
        "path": "a path",
        "dict": "a section of keys",
        "model": "a section of keys",
        "float": "a number",
    }
    for prefix, words in expected_types.items():
        if kind.startswith(f"{prefix}_"):
            return f"expected {words}, got {got}"
    return f"{detail['msg'][:1].lower()}{detail['msg'][1:]}, got {got}"
