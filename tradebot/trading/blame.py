"""Which line of a user's file an error comes from."""

from __future__ import annotations

import sys
import traceback
from pathlib import PurePath


def file_of(cls: type) -> str:
    """Path of the file that defines ``cls``, as it was given when that was loaded."""
    return str(getattr(sys.modules.get(cls.__module__), "__file__", "") or _code_file(cls))


def line_of(error: BaseException, path: str) -> int:
    """The innermost line of ``path`` on the way to ``error``; 0 when none is."""
    frames = reversed(traceback.extract_tb(error.__traceback__))
    return next((frame.lineno or 0 for frame in frames if frame.filename == path), 0)


def raised_at(error: BaseException, cls: type) -> str:
    """``file:line`` of the code of ``cls`` that ``error`` comes from; the file's name alone, so that a replay of the
    same file elsewhere tells the same."""
    path = file_of(cls)
    return f"{PurePath(path).name}:{line_of(error, path)}"


def defined_at(cls: type, method: str) -> str:
    """``file:line`` where ``cls`` defines ``method``."""
    code = getattr(getattr(cls, method), "__code__", None)
    return f"{PurePath(file_of(cls)).name}:{code.co_firstlineno if code is not None else 0}"


def _code_file(cls: type) -> str:
    codes = (getattr(member, "__code__", None) for member in vars(cls).values())
    return next((code.co_filename for code in codes if code is not None), "")
