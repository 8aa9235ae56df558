"""Options that take several values after one flag: ``--replay A B C`` means ``--replay=A --replay=B --replay=C``."""

from __future__ import annotations

from collections.abc import Sequence

PATHS = frozenset({"--replay", "--market", "--history", "--data", "--param", "--search"})
"""Options whose values are taken as they are."""
SYMBOLS = frozenset({"--symbol", "--symbols"})


def expand(argv: Sequence[str]) -> list[str]:
    """``argv`` with every value of a multiple option under a flag of its own. Nothing after ``--`` is touched.

    >>> expand(["demo", "--replay", "a", "b", "--seed", "1", "--symbol", "X,Y"])
    ['demo', '--replay=a', '--replay=b', '--seed', '1', '--symbol=X', '--symbol=Y']
    """
    out: list[str] = []
    flag = ""
    """The multiple option whose values are being read."""
    values = 0
    for at, token in enumerate(argv):
        if token == "--":
            return out + _unfinished(flag, values) + list(argv[at:])
        name, equals, value = token.partition("=")
        if name in PATHS | SYMBOLS:
            out += _unfinished(flag, values)
            flag, values = name, 0
            if equals:
                out += _values(flag, value)
                flag = ""
        elif token.startswith("-"):
            out += _unfinished(flag, values)
            out.append(token)
            flag = ""
        elif flag:
            out += _values(flag, token)
            values += 1
        else:
            out.append(token)
    return out + _unfinished(flag, values)


def _values(flag: str, text: str) -> list[str]:
    parts = [part for part in text.split(",") if part] if flag in SYMBOLS else [text]
    return [f"{flag}={part}" for part in parts or [text]]


def _unfinished(flag: str, values: int) -> list[str]:
    """A flag without a value stays, so that the parser says what it lacks."""
    return [flag] if flag and not values else []
