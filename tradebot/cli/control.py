"""Talking to a running daemon over its Unix socket: one JSON line there, one JSON line back.

Requests: ``{"cmd": "status"}``, or an operator act (``halt``, ``pause``, ``resume``, ``flatten``, ``close``, ``adopt``,
``ignore``) as ``{"cmd": ..., "symbol": "", "reason": "", "actor": ""}``.
Replies: ``{"ok": true, ...}`` (status adds ``"snapshot"``), or ``{"ok": false, "error": text, "exit_code": n}``.
"""

from __future__ import annotations

import getpass
import os
import socket
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from tradebot.cli.options import ConfigOption, JsonOption, StateOption, settings_of
from tradebot.cli.output import json_line, line
from tradebot.errors import TradebotError, Unavailable

TIMEOUT_S = 10.0
SOCKET = "control.sock"

ReasonOption = Annotated[str, typer.Option("--reason", help="Recorded with the act.")]
OneSymbolOption = Annotated[str, typer.Option("--symbol", metavar="SYMBOL", help="One symbol instead of all.")]


class Refused(TradebotError):
    """The daemon answered and did not do it. ``exit_code`` is what it said."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def ask(state: Path, request: dict[str, Any]) -> dict[str, Any]:
    """Send one request to the daemon that owns ``state``. Raises Unavailable when none answers, Refused."""
    import msgspec

    path = state / SOCKET
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(TIMEOUT_S)
            # An address longer than about 100 bytes does not fit the kernel's structure; a descriptor path always does.
            folder = os.open(state, os.O_PATH | os.O_DIRECTORY)
            try:
                connection.connect(f"/proc/self/fd/{folder}/{SOCKET}")
            finally:
                os.close(folder)
            connection.sendall(msgspec.json.encode(request) + b"\n")
            reply = bytearray()
            while not reply.endswith(b"\n") and (part := connection.recv(65_536)):
                reply += part
    except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError):
        raise Unavailable(f"no daemon is running on {state} (start one with 'tradebot run')") from None
    except TimeoutError:
        raise Unavailable(f"{path}: the daemon does not answer within {TIMEOUT_S:.0f} s") from None
    except OSError as error:
        raise Unavailable(f"{path}: {error.strerror or error}") from None
    try:
        answer = msgspec.json.decode(bytes(reply), type=dict[str, Any])
    except msgspec.DecodeError:
        raise Unavailable(f"{path}: the daemon went away before it answered") from None
    if not answer.get("ok"):
        raise Refused(str(answer.get("error", "refused")), int(answer.get("exit_code", 1)))
    return answer


def _state(state: Path | None, config: Path | None) -> Path:
    return state if state is not None else settings_of(config).settings.state_dir


def status(
    as_json: JsonOption = False,
    watch: Annotated[bool, typer.Option("--watch", help="Keep showing it until Ctrl-C.")] = False,
    state: StateOption = None,
    config: ConfigOption = None,
) -> None:
    """What a running bot is doing. Exit code 4 when it is halted."""
    folder = _state(state, config)
    snapshot = ask(folder, {"cmd": "status"})["snapshot"]
    if as_json:
        json_line(snapshot)
        while watch:
            time.sleep(1)
            json_line(ask(folder, {"cmd": "status"})["snapshot"])
    else:
        from tradebot.cli.view import follow, page, render

        if watch:
            follow(lambda: ask(folder, {"cmd": "status"})["snapshot"])
        else:
            page(sys.stdout, render(snapshot))
    if snapshot.get("tradability") == "halted":
        raise typer.Exit(4)


def halt(reason: ReasonOption = "", state: StateOption = None, config: ConfigOption = None) -> None:
    """Stop: cancel entry orders, block entries; positions keep their exchange stops. Survives a restart."""
    folder = _state(state, config)
    try:
        _act("halt", "", reason, folder)
    except Unavailable as error:
        from tradebot.daemon.haltswitch import NAME

        more = f"an empty file {folder / NAME} halts the next start, and a running bot within a second"
        raise Unavailable(f"{error}; {more}") from None


def pause(
    symbol: OneSymbolOption = "", reason: ReasonOption = "", state: StateOption = None, config: ConfigOption = None
) -> None:
    """Make no new entries; exits and stops go on."""
    _act("pause", symbol, reason, _state(state, config))


def flatten(
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask (not accepted in mode live).")] = False,
    reason: ReasonOption = "",
    state: StateOption = None,
    config: ConfigOption = None,
) -> None:
    """Halt, and close every position with reduce-only market orders. Asks for a typed word."""
    folder = _state(state, config)
    live = ask(folder, {"cmd": "status"})["snapshot"].get("mode") == "live"
    if live or not yes:
        from tradebot.cli.live import require_word

        require_word("flatten", "Every open position will be closed at the market, and entries stay halted.")
    _act("flatten", "", reason, folder)


SymbolArgument = Annotated[str, typer.Argument(metavar="SYMBOL")]


def close(
    symbol: SymbolArgument, reason: ReasonOption = "", state: StateOption = None, config: ConfigOption = None
) -> None:
    """Close the position of one symbol at the market. Entries go on; pause the symbol to stop them."""
    _act("close", symbol, reason, _state(state, config))


def adopt(
    symbol: SymbolArgument, reason: ReasonOption = "", state: StateOption = None, config: ConfigOption = None
) -> None:
    """Take over a position that the bot did not open: it is protected and managed like its own."""
    _act("adopt", symbol, reason, _state(state, config))


def ignore(
    symbol: SymbolArgument, reason: ReasonOption = "", state: StateOption = None, config: ConfigOption = None
) -> None:
    """Leave a position that the bot did not open alone: the symbol is not traded, the others are."""
    _act("ignore", symbol, reason, _state(state, config))


def resume(
    symbol: OneSymbolOption = "",
    reason: ReasonOption = "",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask (not accepted in mode live).")] = False,
    state: StateOption = None,
    config: ConfigOption = None,
) -> None:
    """Take back a halt or a pause. In mode live a word has to be typed."""
    folder = _state(state, config)
    if ask(folder, {"cmd": "status"})["snapshot"].get("mode") == "live":
        from tradebot.cli.live import require_word

        require_word("resume", "Entries with real money will be made again.")
    _act("resume", symbol, reason, folder)


def _act(command: str, symbol: str, reason: str, state: Path) -> None:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a user id without a name
        user = str(os.getuid())
    answer = ask(state, {"cmd": command, "symbol": symbol, "reason": reason, "actor": f"cli:{user}"})
    done = {
        "halt": "halted",
        "pause": "entries paused",
        "resume": "resumed",
        "flatten": "halted, closing every position",
        "close": "closing the position",
        "adopt": "position adopted",
        "ignore": "position ignored, symbol not traded",
    }[command]
    line(str(answer.get("message") or f"{symbol or 'all symbols'}: {done}"))
