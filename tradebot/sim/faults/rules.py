"""Rules of a fault schedule: read, checked, and every mistake told with its place.

A schedule is YAML (the control endpoint takes the same members as JSON)::

    seed: 7
    rules:
      - kind: delay          # one of tradebot.sim.faults.kinds
        scope: private       # public, private or rest, where the kind can act there
        channel: orders      # else the kind's own channels
        from: 40m            # exchange time since the market's start
        for: 20m             # for ever when absent
        probability: 0.5     # of what it could hit; also nth (that one alone) and times (at most so often)
        delay: 2s            # a parameter of the kind
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import yaml

from tradebot.duration import Duration
from tradebot.errors import ConfigError
from tradebot.ops.documents import place_of, read_yaml, value_of
from tradebot.sim.faults import reach
from tradebot.sim.faults.kinds import KINDS, Kind, Scope

LAST_SEED = 2**32 - 1


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """One fault, when and to what it happens.

    Times in ms; ``from_ms`` counts from the market's start, ``for_ms`` is None for ever. ``symbol``, ``channel`` and
    ``endpoint`` empty: all. An endpoint is the last part of a path (``place-order``) or a method (``POST``). ``nth``
    counts from 1 among what the rule could hit, 0: all. ``parameters`` are complete: the kind's defaults are in it.
    """

    kind: str
    scope: Scope
    symbol: str = ""
    channel: str = ""
    endpoint: str = ""
    from_ms: int = 0
    for_ms: int | None = None
    probability: float = 1.0
    nth: int = 0
    times: int = 0
    parameters: Mapping[str, Any] = {}

    @property
    def sort(self) -> Kind:
        """What the table says of its kind."""
        return KINDS[self.kind]

    def whole(self, name: str) -> int:
        """A parameter that is a whole number, or a length of time in ms."""
        value: int = self.parameters[name]
        return value


class Schedule(msgspec.Struct, frozen=True, kw_only=True):
    """Rules in the order they are applied. The same seed draws the same faults from the same market.

    ``places`` are where the rules stand, for messages; without them they are called by their number.
    """

    seed: int = 1
    rules: tuple[Rule, ...] = ()
    places: tuple[str, ...] = ()


# --- values ---------------------------------------------------------------------------------------------------------


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("expected text")
    return value


def _symbol(value: object) -> str:
    return _text(value).upper()


def _ms(value: object) -> int:
    if not isinstance(value, str):
        raise ValueError(f"expected a duration like 250ms, {Duration.EXAMPLES}")
    return Duration.parse(value).ms


def _signed_ms(value: object) -> int:
    if isinstance(value, str) and value.startswith("-"):
        return -Duration.parse(value[1:]).ms
    return _ms(value)


def _whole(least: int, most: int) -> Callable[[object], int]:
    def read(value: object) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise ValueError(f"expected a whole number from {least} to {most}")
        return value

    return read


def _share(value: object) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value <= 1:
        raise ValueError("expected a probability above 0 and at most 1")
    return float(value)


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError("expected true or false")
    return value


def _one_of(*allowed: str) -> Callable[[object], str]:
    def read(value: object) -> str:
        if value not in allowed:
            raise ValueError(f"expected one of {', '.join(allowed)}")
        return str(value)

    return read


def _code(value: object) -> str:
    text = str(value)
    if not re.fullmatch(r"\d{5,6}", text):
        raise ValueError("expected an error code of the exchange, like 40725")
    return text


_COMMON: dict[str, Callable[[object], Any]] = {
    "scope": _one_of("public", "private", "rest"),
    "symbol": _symbol,
    "channel": _text,
    "endpoint": _text,
    "from": _ms,
    "for": _ms,
    "probability": _share,
    "nth": _whole(1, 10**9),
    "times": _whole(1, 10**9),
}
_STORED = {"from": "from_ms", "for": "for_ms"}
_PARAMETERS: dict[str, Callable[[object], Any]] = {
    "delay": _ms,
    "jitter": _ms,
    "hold": _ms,
    "every": _ms,
    "skew": _signed_ms,
    "gap": _whole(1, 10**6),
    "factor": _whole(2, 1000),
    "leverage": _whole(1, 125),
    "effect": _flag,
    "hang": _flag,
    "body": _one_of("json", "empty", "both"),
    "code": _code,
    "by": _one_of("liquidation", "person"),
}
_STATUS: dict[str, Callable[[object], Any]] = {
    "delisting": _one_of("limit_open", "off", "gone"),
    "empty_body": _whole(200, 599),
    "refused_connection": _whole(400, 599),
    "server_error": _whole(500, 599),
    "html_page": _whole(500, 599),
}

Place = Callable[[str], str]
"""Where the member of that name stands ("" for the whole rule), for messages."""


def read_rule(members: Mapping[str, object], place: Place) -> Rule:
    """One rule from its members. Raises ConfigError with a line for each mistake: place, member and what is allowed."""
    mistakes: list[str] = []

    def wrong(name: str, what: str) -> None:
        mistakes.append(f"{place(name)}: {name}: {what}" if name else f"{place('')}: {what}")

    if "kind" not in members:
        raise ConfigError(f"{place('')}: a rule needs a kind: {', '.join(KINDS)}")
    kind = KINDS.get(str(members["kind"]))
    if kind is None:
        close = difflib.get_close_matches(str(members["kind"]), KINDS, 1)
        hint = f"did you mean {close[0]}? " if close else ""
        said = f"no such kind {members['kind']!r}; {hint}there are {', '.join(KINDS)}"
        raise ConfigError(f"{place('kind')}: kind: {said}")
    values: dict[str, Any] = {"kind": kind.name, "scope": kind.scopes[0], "endpoint": kind.endpoint}
    parameters = dict(kind.parameters)
    for name, value in members.items():
        if name == "kind":
            continue
        if name in kind.parameters:
            read = _STATUS[kind.name] if name == "status" else _PARAMETERS[name]
        elif name in _COMMON:
            read = _COMMON[name]
        else:
            known = ", ".join([*_COMMON, *kind.parameters])
            wrong(name, f"not a member of a rule of kind {kind.name}; it takes {known}")
            continue
        try:
            read_value = read(value)
        except ValueError as error:
            wrong(name, f"{error}, got {value!r}" if "got" not in str(error) else str(error))
            continue
        if name in kind.parameters:
            parameters[name] = read_value
        else:
            values[_STORED.get(name, name)] = read_value
    if values["scope"] not in kind.scopes:
        wrong("scope", f"{kind.name} does not act on {values['scope']}; it acts on {', '.join(kind.scopes)}")
    else:
        for name, what in reach.mistakes(kind, values["scope"], {n: members[n] for n in members if n in values}):
            wrong(name, what)
    if mistakes:
        raise ConfigError("\n".join(mistakes))
    return Rule(**values, parameters=parameters)


def read_rules(listed: object) -> tuple[Rule, ...]:
    """Rules of a decoded JSON list. Raises ConfigError with a line for each mistake, naming the rule by its number."""
    if not isinstance(listed, list):
        raise ConfigError("faults: rules: expected a list of objects with a kind")

    def read(number: int, members: object) -> Rule:
        if not isinstance(members, dict):
            raise ConfigError(f"rule {number}: expected an object with a kind")
        return read_rule(members, lambda name: f"rule {number}")

    return _each(partial(read, number, members) for number, members in enumerate(listed, 1))


def _each(readers: Iterable[Callable[[], Rule]]) -> tuple[Rule, ...]:
    """What all of them read. Raises ConfigError with the mistakes of all."""
    rules, mistakes = [], []
    for read in readers:
        try:
            rules.append(read())
        except ConfigError as error:
            mistakes.append(str(error))
    if mistakes:
        raise ConfigError("\n".join(mistakes))
    return tuple(rules)


def _seed(value: object, where: str) -> int:
    try:
        return _whole(0, LAST_SEED)(value)
    except ValueError as error:
        raise ConfigError(f"{where}: {error}, got {value!r}") from None


def load_schedule(path: Path) -> Schedule:
    """Read a schedule file. Raises ConfigError, a line with file, line and column for every mistake in its rules."""
    root = read_yaml(path)
    if root is None:
        return Schedule()
    members = _mapping(path, root, "a schedule with `rules:`")
    unknown = [name for name in members if name not in ("seed", "rules")]
    if unknown:
        raise ConfigError(
            f"{place_of(path, members[unknown[0]])}: {unknown[0]}: a schedule has `seed` and `rules` alone"
        )
    seed = 1
    if "seed" in members:
        seed = _seed(_said(path, "seed", members["seed"]), f"{place_of(path, members['seed'])}: seed")
    listed = members.get("rules")
    if listed is not None and listed.tag.endswith(":null"):
        listed = None
    if listed is not None and not isinstance(listed, yaml.SequenceNode):
        raise ConfigError(f"{place_of(path, listed)}: rules: expected a list, each item starting with `- kind: …`")
    nodes = listed.value if listed is not None else []
    rules = _each(partial(_rule, path, node) for node in nodes)
    return Schedule(seed=seed, rules=rules, places=tuple(place_of(path, node) for node in nodes))


def _rule(path: Path, node: yaml.Node) -> Rule:
    nodes = _mapping(path, node, "a rule with a `kind:`")

    def place(name: str) -> str:
        return place_of(path, nodes.get(name, node))

    return read_rule({name: _said(path, name, value) for name, value in nodes.items()}, place)


def _mapping(path: Path, node: yaml.Node, what: str) -> dict[str, yaml.Node]:
    if not isinstance(node, yaml.MappingNode):
        raise ConfigError(f"{place_of(path, node)}: expected {what}")
    found: dict[str, yaml.Node] = {}
    for key, value in node.value:
        name = str(key.value)
        if name in found:
            raise ConfigError(f"{place_of(path, key)}: {name}: given twice")
        found[name] = value
    return found


def _said(path: Path, name: str, node: yaml.Node) -> object:
    try:
        return value_of(node)
    except ValueError as error:
        raise ConfigError(f"{place_of(path, node)}: {name}: {error}") from None
