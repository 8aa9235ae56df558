"""The bot's event loop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Iterator

import pytest
import uvloop

from tradebot.ops.loop import Loop, run_loop


async def abandoned(server: socket.socket) -> tuple[socket.socket, int]:
    """A connected socket whose connection was cancelled while the loop made it, and the number it had."""
    loop = asyncio.get_running_loop()
    sock = socket.create_connection(server.getsockname())
    sock.setblocking(False)
    number = sock.fileno()
    making = asyncio.ensure_future(loop.create_connection(asyncio.Protocol, sock=sock))
    await asyncio.sleep(0)
    making.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await making
    await asyncio.sleep(0.01)
    return sock, number


@pytest.fixture
def server() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening


def test_a_cancelled_connection_leaves_no_socket_that_closes_another_s_descriptor(server: socket.socket) -> None:
    async def main() -> None:
        assert isinstance(asyncio.get_running_loop(), Loop)
        sock, number = await abandoned(server)
        other = os.open(os.devnull, os.O_RDONLY)
        assert other == number, "the number is free and goes to the next"
        sock.close()
        del sock
        os.fstat(other)
        os.close(other)

    run_loop(main())


def test_without_it_uvloop_would(server: socket.socket) -> None:
    async def main() -> None:
        sock, number = await abandoned(server)
        if sock.fileno() == -1:
            pytest.skip("uvloop was mended: tradebot.ops.loop is no longer needed")
        other = os.open(os.devnull, os.O_RDONLY)
        assert other == number
        sock.close()
        with pytest.raises(OSError):
            os.fstat(other)

    uvloop.run(main())


def test_a_connection_that_cannot_begin_closes_its_socket() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        number = sock.fileno()
        with pytest.raises(ValueError):
            await loop.create_connection(asyncio.Protocol, sock=sock)
        with pytest.raises(OSError):
            os.fstat(number)

    run_loop(main())


def test_connections_with_and_without_a_socket_are_made() -> None:
    async def main() -> None:
        server = await asyncio.start_server(lambda r, w: w.close(), "127.0.0.1", 0)
        host, port = server.sockets[0].getsockname()
        loop = asyncio.get_running_loop()
        plain, _ = await loop.create_connection(asyncio.Protocol, host, port)
        sock = socket.socket()
        sock.setblocking(False)
        await loop.sock_connect(sock, (host, port))
        given, _ = await loop.create_connection(asyncio.Protocol, sock=sock)
        assert plain.get_extra_info("peername") == given.get_extra_info("peername")
        plain.close()
        given.close()
        server.close()

    run_loop(main())
