"""Lengths of time as people write them: ``10s``, ``20m``, ``36h``, ``7d``, ``1d12h``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar

_UNITS = {"w": 604_800_000, "d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1_000, "ms": 1}
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|[wdhms])\s*")


@dataclass(frozen=True, slots=True, order=True)
class Duration:
    """A length of time, never negative. ``ms`` is whole milliseconds."""

    ms: int

    EXAMPLES: ClassVar[str] = "10s, 20m, 36h or 7d"

    def __post_init__(self) -> None:
        if self.ms < 0:
            raise ValueError(f"a duration cannot be negative, is {self.ms} ms")

    @classmethod
    def parse(cls, text: str) -> Duration:
        """Read ``7d``, ``1h30m``, ``250ms``. A number needs its unit. Raises ValueError.

        >>> Duration.parse("1h30m").ms
        5400000
        """
        stripped = text.strip().lower()
        position, total = 0, 0.0
        while position < len(stripped):
            part = _PART.match(stripped, position)
            if part is None:
                break
            total += float(part[1]) * _UNITS[part[2]]
            position = part.end()
        if not stripped or position < len(stripped):
            raise ValueError(f"expected a duration like {cls.EXAMPLES}, got {text!r}")
        return cls(round(total))

    @property
    def seconds(self) -> float:
        return self.ms / 1000

    def __str__(self) -> str:
        """The shortest exact form in units up to days.

        >>> str(Duration(90_000)), str(Duration(7 * 86_400_000)), str(Duration(0))
        ('1m30s', '7d', '0s')
        """
        rest, parts = self.ms, []
        for unit in ("d", "h", "m", "s", "ms"):
            count, rest = divmod(rest, _UNITS[unit])
            if count:
                parts.append(f"{count}{unit}")
        return "".join(parts) or "0s"
