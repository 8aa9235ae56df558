"""What a setting may be, where that can be counted: for the line that refuses another value."""

from __future__ import annotations

import msgspec
import msgspec.inspect


def choices(kind: type[msgspec.Struct], name: str) -> str:
    """The values that field ``name`` of ``kind`` takes, with commas between them; empty where they are not counted.

    >>> from typing import Literal
    >>> Shape = msgspec.defstruct("Shape", [("kind", Literal["tree", "net"]), ("wide", bool), ("size", int)])
    >>> [choices(Shape, name) for name in ("kind", "wide", "size", "none")]
    ['net, tree', 'true, false', '', '']
    """
    info = msgspec.inspect.type_info(kind)
    types = {field.encode_name: field.type for field in getattr(info, "fields", ())}
    match types.get(name):
        case msgspec.inspect.LiteralType(values):
            return ", ".join(map(str, values))
        case msgspec.inspect.BoolType():
            return "true, false"
    return ""
