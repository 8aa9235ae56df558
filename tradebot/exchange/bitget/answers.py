"""What one REST request can come back with (protocol section 2), before it is told what that means."""

from __future__ import annotations

import msgspec


class Answer(msgspec.Struct, gc=False):
    """The envelope around every answer. ``data`` is decoded when it is known to be there."""

    code: str | int
    msg: str | None = ""
    data: msgspec.Raw = msgspec.Raw(b"null")


class Refused(Exception):
    """The exchange answered with a code that is no success."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message


class Silent(Exception):
    """No answer that can be read: what was asked for may or may not have happened."""


class NotSent(Exception):
    """No connection was made: nothing was asked for."""
