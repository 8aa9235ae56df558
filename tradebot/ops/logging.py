"""Log lines: JSON for machines, colour for people, the mode on every one, a secret on none."""

from __future__ import annotations

import json
import logging
import os
import re
import sys
from collections.abc import Iterable, Mapping
from typing import Any, Literal, TextIO
from urllib.parse import quote

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

Style = Literal["terminal", "json", "systemd"]

MASK = "***"
_SECRET_KEY = re.compile(
    r"secret|passphrase|password|passwd|token|api_?key|access_?key|signature|credential|cookie", re.I
)
_SHORTEST_SECRET = 4
_SYSLOG_PRIORITY = {"debug": 7, "info": 6, "warning": 4, "error": 3, "exception": 3, "critical": 2}


def configure(
    mode: str,
    *,
    level: str = "info",
    secrets: Iterable[str] = (),
    stream: TextIO | None = None,
    style: Style | None = None,
) -> None:
    """Send structlog's and the standard library's log lines to ``stream``; to be called once, by the process's owner.

    ``mode`` is written into every line. ``secrets`` are values that never appear in one, wherever they turn up; values
    under keys that sound like secrets are masked as well. Without ``stream`` the lines go to stdout under systemd and
    to stderr elsewhere, where stdout is for data. Without ``style``: ``systemd`` (JSON with the ``<N>`` priority that
    journald takes off again), ``terminal`` when the stream is one, else ``json``.
    """
    under_systemd = "JOURNAL_STREAM" in os.environ
    out = stream or (sys.stdout if under_systemd and not sys.stdout.isatty() else sys.stderr)
    if style is None:
        style = "terminal" if out.isatty() else "systemd" if under_systemd else "json"
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
        _with_mode(mode),
    ]
    finish: list[Processor] = [
        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
        SecretMask(secrets),
    ]
    match style:
        case "terminal":
            finish.append(structlog.dev.ConsoleRenderer(colors="NO_COLOR" not in os.environ, timestamp_key="time"))
        case "json":
            finish.append(structlog.processors.JSONRenderer())
        case "systemd":
            finish.append(_render_for_journald)
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=finish, foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder()]
        )
    )
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level.upper())
    for chatty in ("aiohttp.access", "alembic", "apscheduler"):
        logging.getLogger(chatty).setLevel(max(logging.WARNING, root.level))
    logging.raiseExceptions = False  # a closed pipe or a full disk loses log lines, never more
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )


class SecretMask:
    """A structlog processor that writes ``***`` for secrets, at any depth of the line.

    Masked are the given values wherever they stand (as they are, URL-encoded, or escaped for JSON), and everything
    under a key whose name sounds like a secret.
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        """Values shorter than four characters are ignored: masking them would blank half of every line."""
        found: set[str] = set()
        for secret in secrets:
            if len(secret) >= _SHORTEST_SECRET:
                found |= {secret, quote(secret, safe=""), json.dumps(secret)[1:-1], repr(secret)[1:-1]}
        longest_first = sorted(found, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest_first))) if longest_first else None

    def __call__(self, _logger: WrappedLogger, _method: str, event_dict: EventDict) -> EventDict:
        return {self._text(key): self._value(key, value) for key, value in event_dict.items()}

    def _value(self, key: str, value: Any) -> Any:
        if value is None or isinstance(value, bool | int | float):
            return MASK if value is not None and _SECRET_KEY.search(key) else value
        if _SECRET_KEY.search(key):
            return MASK
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, Mapping):
            return {self._text(str(k)): self._value(str(k), v) for k, v in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return [self._value("", item) for item in value]
        return self._text(str(value))

    def _text(self, text: str) -> str:
        return text if self._pattern is None else self._pattern.sub(MASK, text)


def _with_mode(mode: str) -> Processor:
    def add(_logger: WrappedLogger, _method: str, event_dict: EventDict) -> EventDict:
        event_dict["mode"] = mode
        return event_dict

    return add


def _render_for_journald(_logger: WrappedLogger, _method: str, event_dict: EventDict) -> str:
    priority = _SYSLOG_PRIORITY.get(str(event_dict.get("level", "info")), 6)
    return f"<{priority}>{structlog.processors.JSONRenderer()(_logger, _method, event_dict)!s}"
