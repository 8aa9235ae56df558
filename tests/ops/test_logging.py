"""Log lines are JSON for machines, carry the mode, and never hold a secret."""

from __future__ import annotations

import io
import json
import logging
import os
import pty
import sys
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
import structlog

from tradebot.ops.logging import SecretMask, configure

SECRET = 'p4ss"word/with+ everything'


@pytest.fixture(autouse=True)
def restored_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level, raising = list(root.handlers), root.level, logging.raiseExceptions
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.raiseExceptions = raising
    structlog.reset_defaults()


def lines(out: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_every_line_is_one_json_object_with_mode_time_and_level() -> None:
    out = io.StringIO()
    configure("paper", stream=out)
    structlog.get_logger("feed").warning("gap", symbol="BTCUSDT", text="two\nlines", number=1.5)
    logging.getLogger("third.party").info("said %s", "something")
    structlog.get_logger().debug("not shown")
    gap, foreign = lines(out)
    assert (gap["event"], gap["mode"], gap["level"], gap["logger"]) == ("gap", "paper", "warning", "feed")
    assert (gap["symbol"], gap["text"], gap["number"]) == ("BTCUSDT", "two\nlines", 1.5)
    assert gap["time"].endswith("Z")
    assert (foreign["event"], foreign["mode"], foreign["logger"]) == ("said something", "paper", "third.party")


def test_under_systemd_every_line_begins_with_its_priority(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOURNAL_STREAM", "8:1234")
    out = io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    configure("live", level="debug")
    log = structlog.get_logger()
    for level in ("debug", "info", "warning", "error", "critical"):
        getattr(log, level)("x")
    try:
        raise ValueError("broken")
    except ValueError:
        log.exception("failed")
    found = out.getvalue().splitlines()
    assert [line[:3] for line in found] == ["<7>", "<6>", "<4>", "<3>", "<2>", "<3>"]
    assert all(json.loads(line[3:])["mode"] == "live" for line in found)
    assert "ValueError: broken" in json.loads(found[-1][3:])["exception"]


def test_on_a_terminal_lines_are_for_people_and_on_stderr_elsewhere(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("JOURNAL_STREAM", raising=False)
    monkeypatch.delenv("NO_COLOR", raising=False)
    configure("demo")
    structlog.get_logger().info("to a pipe")
    captured = capsys.readouterr()
    assert captured.out == ""  # stdout is for data
    assert json.loads(captured.err)["event"] == "to a pipe"
    for no_color in ("", "1"):
        if no_color:
            monkeypatch.setenv("NO_COLOR", no_color)
        master, slave = pty.openpty()
        with os.fdopen(slave, "w", buffering=1) as terminal:
            configure("demo", stream=terminal)
            structlog.get_logger().info("hello", symbol="X")
            text = os.read(master, 4096).decode()
        os.close(master)
        assert "hello" in text
        assert "demo" in text
        assert "{" not in text
        assert ("\x1b[" in text) is not bool(no_color)


def test_a_secret_appears_in_no_line_wherever_it_stands() -> None:
    class Holder:
        def __repr__(self) -> str:
            return f"Holder({SECRET!r})"

    out = io.StringIO()
    configure("live", stream=out, secrets=[SECRET, "abcd1234", ""])
    log = structlog.get_logger()
    log.info(f"event {SECRET}", plain=SECRET, deep={"a": [1, {"b": f"x{SECRET}y"}], SECRET: 2}, holder=Holder())
    log.info("url", url=f"https://x/?k={quote(SECRET, safe='')}", raw=SECRET.encode(), nested=(SECRET, {SECRET}))
    log.info("json in json", body=json.dumps({"pass": SECRET}))
    logging.getLogger("lib").error("third party: %s", SECRET)
    logging.getLogger("lib").error("more", extra={"header": SECRET})
    try:
        raise ValueError(SECRET)
    except ValueError:
        log.exception("failed")
    structlog.contextvars.bind_contextvars(session=SECRET)
    log.info("bound")
    structlog.contextvars.clear_contextvars()
    assert len(lines(out)) == 7
    text = out.getvalue()
    for shape in (SECRET, json.dumps(SECRET)[1:-1], quote(SECRET, safe=""), "p4ss", "everything"):
        assert shape not in text
    assert "***" in text


@pytest.mark.parametrize(
    "key", ["secret", "API_KEY", "apikey", "passphrase", "X-Access-Token", "ledger_password", "sign_signature"]
)
def test_values_under_a_name_that_sounds_secret_are_masked_even_if_unknown(key: str) -> None:
    masked = SecretMask([])(None, "info", {"event": "x", "headers": {key: "value-1"}, key: ["value-2"], "n": 1})
    assert "value" not in json.dumps(masked)
    assert (masked["event"], masked["n"]) == ("x", 1)


def test_a_closed_stream_loses_log_lines_and_nothing_else() -> None:
    out = io.StringIO()
    configure("demo", stream=out)
    out.close()
    structlog.get_logger().error("into the void")
