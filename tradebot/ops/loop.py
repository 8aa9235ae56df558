"""The event loop of a running bot: uvloop, with a hole of it closed.

uvloop's ``create_connection(sock=…)`` hands the socket's descriptor to libuv, but when it is cancelled on the way (a
connect timeout) or fails, libuv closes the descriptor and the Python socket does not know: when that is collected it
closes whatever has the number by then, another connection of the bot for example (uvloop issues 653 and 738). aiohttp
connects this way.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Coroutine
from typing import Any, TypeVar

import uvloop

T = TypeVar("T")


class Loop(uvloop.Loop):
    """A uvloop whose failed connections own nothing any more."""

    async def create_connection(
        self, protocol_factory: Any, *args: Any, sock: socket.socket | None = None, **options: Any
    ) -> Any:
        """As ``asyncio.loop.create_connection``; a ``sock`` whose connection fails is closed and knows it."""
        if sock is None:
            return await super().create_connection(protocol_factory, *args, **options)
        identity = _identity(sock)
        try:
            return await super().create_connection(protocol_factory, *args, sock=sock, **options)
        except BaseException:
            if _identity(sock) == identity:
                sock.close()  # libuv never had it
            else:
                sock.detach()
            raise


def _identity(sock: socket.socket) -> tuple[int, int] | None:
    """What the socket's descriptor stands for now; None when that is closed."""
    try:
        status = os.fstat(sock.fileno())
    except OSError:
        return None
    return status.st_dev, status.st_ino


def new_event_loop() -> asyncio.AbstractEventLoop:
    """A new loop of this kind, for ``asyncio.Runner``."""
    return Loop()


def run_loop(main: Coroutine[Any, Any, T]) -> T:
    """Run ``main`` to its end on a new loop of this kind."""
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(main)
