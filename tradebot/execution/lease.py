"""One daemon per account on this machine."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import socket
from collections.abc import Iterator

from tradebot.errors import BusyError


@contextlib.contextmanager
def account_lease(rest_url: str, key: str) -> Iterator[None]:
    """Hold the account of API key ``key`` at ``rest_url`` for as long as the block lasts.

    Two daemons with different state directories would each take the other's orders for foreign ones. The lease is a
    name in the kernel's abstract socket namespace: no file, the same for every user and sandboxed service of the
    machine, and gone with its process, however it dies. Raises BusyError (exit 75).
    """
    name = hashlib.sha256(f"{rest_url}\n{key}".encode()).hexdigest()[:32]
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as holder:
        try:
            holder.bind(f"\0tradebot-account-{name}")
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            raise BusyError("another daemon on this machine trades this account; stop it first") from error
        yield
