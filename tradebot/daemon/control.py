"""The Unix socket on which a running daemon is asked and told: one JSON line there, one JSON line back."""

from __future__ import annotations

import asyncio
import contextlib
import os
from pathlib import Path
from typing import Any, Protocol

import msgspec

from tradebot.daemon.snapshot import Snapshot
from tradebot.errors import TradebotError, UsageError
from tradebot.events import OperatorActed
from tradebot.ops.files import disk_error

ACTS = frozenset({"halt", "pause", "resume", "flatten", "close", "adopt", "ignore"})
NEEDS_SYMBOL = frozenset({"close", "adopt", "ignore"})
ALL_OR_NOTHING = frozenset({"halt", "flatten"})
MAX_LINE = 64 << 10


class Operated(Protocol):
    """What the socket talks to."""

    def snapshot(self) -> Snapshot: ...
    def operate(self, event: OperatorActed) -> str: ...
    def knows(self, symbol: str) -> bool: ...


class _Request(msgspec.Struct):
    cmd: str
    symbol: str = ""
    reason: str = ""
    actor: str = "cli"


class ControlSocket:
    """Listens at ``path`` (mode 0600). Requests: ``{"cmd": "status"}`` or an operator act with symbol and reason."""

    def __init__(self, path: Path, target: Operated) -> None:
        self._path = path
        self._target = target
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        """Start to listen. A socket that a killed daemon left is replaced: the state's lock is ours."""
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()
        folder = os.open(self._path.parent, os.O_PATH | os.O_DIRECTORY)
        before = os.umask(0o177)
        try:
            # through the descriptor: a socket's address may have only about 100 bytes
            address = f"/proc/self/fd/{folder}/{self._path.name}"
            self._server = await asyncio.start_unix_server(self._serve, address, limit=MAX_LINE)
        except OSError as error:
            raise disk_error("listen on", self._path, error) from error
        finally:
            os.umask(before)
            os.close(folder)

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
            with contextlib.suppress(FileNotFoundError):
                self._path.unlink()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            line = await asyncio.wait_for(reader.readline(), 10)
            writer.write(msgspec.json.encode(self._answer(line)) + b"\n")
            await writer.drain()
        except (TimeoutError, ConnectionError, ValueError):
            pass  # a client that went away or sent no line
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    def _answer(self, line: bytes) -> dict[str, Any]:
        try:
            request = msgspec.json.decode(line, type=_Request)
            if request.cmd == "status":
                return {"ok": True, "snapshot": self._target.snapshot()}
            if request.cmd not in ACTS:
                raise UsageError(f"unknown command {request.cmd!r}")
            if request.cmd in NEEDS_SYMBOL and not request.symbol:
                raise UsageError(f"{request.cmd} needs a symbol")
            if request.cmd in ALL_OR_NOTHING and request.symbol:
                raise UsageError(f"{request.cmd} is for all symbols; pause one with: pause --symbol {request.symbol}")
            if request.symbol and not self._target.knows(request.symbol):
                raise UsageError(f"{request.symbol} is not traded by this daemon")
            said = self._target.operate(
                OperatorActed(
                    action=request.cmd,  # type: ignore[arg-type]  # one of ACTS
                    actor=request.actor,
                    symbol=request.symbol,
                    reason=request.reason,
                )
            )
            return {"ok": True, "message": said}
        except msgspec.DecodeError as error:
            return {"ok": False, "error": f"not a request: {error}", "exit_code": 2}
        except TradebotError as error:
            return {"ok": False, "error": str(error), "exit_code": error.exit_code}
