"""YAML files that people write: read with the place of every part, so that a mistake can be shown where it stands."""

from __future__ import annotations

from pathlib import Path

import yaml

from tradebot.errors import ConfigError


def read_yaml(path: Path) -> yaml.Node | None:
    """The tree of a file, None when nothing stands in it. Raises ConfigError, one line with file, line and column."""
    try:
        return yaml.compose(path.read_bytes().decode("utf-8"), Loader=yaml.SafeLoader)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 text (byte {error.start})") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        position = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        raise ConfigError(f"{path}{position}: not valid YAML: {error.problem or error.context}") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None


def place_of(path: Path, node: yaml.Node) -> str:
    """File, line and column of a part, counted from 1."""
    return f"{path}:{node.start_mark.line + 1}:{node.start_mark.column + 1}"


def value_of(node: yaml.Node) -> object:
    """What a part says. Raises ValueError, one line, for what looks like a date and is none, and the like."""
    try:
        value: object = yaml.SafeLoader("").construct_object(node, deep=True)
    except (yaml.YAMLError, ValueError) as error:
        raise ValueError(" ".join(str(error).split())) from None
    return value
