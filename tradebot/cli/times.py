"""Moments as people write them, and as they are shown."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta

from tradebot.duration import Duration
from tradebot.errors import UsageError

_WORDS = {
    "week": "w", "weeks": "w", "day": "d", "days": "d", "hour": "h", "hours": "h", "hr": "h", "min": "m",
    "minute": "m", "minutes": "m", "mins": "m", "sec": "s", "second": "s", "seconds": "s", "secs": "s",
}  # fmt: skip


def wall_ms() -> int:
    """Now by the machine's clock."""
    return time.time_ns() // 1_000_000


def parse_time(text: str, now_ms: int) -> int:
    """``now``, ``today``, ``yesterday``, ``1h ago``, ``-90m``, ``2025-11-03 14:00``, ``2025-11-03T14:00Z``, epoch ms.

    ``now_ms`` is what relative times count back from; dates without a zone are UTC. Raises UsageError.

    >>> parse_time("1h ago", 10_000_000)
    6400000
    >>> parse_time("1970-01-02", 0)
    86400000
    """
    word = text.strip().lower()
    if word == "now":
        return now_ms
    if word in ("today", "yesterday"):
        midnight = now_ms // 86_400_000 * 86_400_000
        return midnight - (86_400_000 if word == "yesterday" else 0)
    back = re.fullmatch(r"(?:-\s*(?P<minus>.+)|(?P<ago>.+?)\s+ago)", word)
    if back:
        amount = re.sub(r"[a-z]+", lambda m: _WORDS.get(m[0], m[0]), back["minus"] or back["ago"])
        try:
            return now_ms - Duration.parse(amount).ms
        except ValueError:
            pass
    elif re.fullmatch(r"\d{12,14}", word):
        return int(word)
    else:
        try:
            moment = datetime.fromisoformat(text.strip())
        except ValueError:
            pass
        else:
            return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)
    raise UsageError(f"{text!r} is not a time; write '1h ago', 'today', '2025-11-03' or '2025-11-03T14:00Z'")


def is_day(text: str) -> bool:
    """Whether a time is a day without a time of day.

    >>> is_day("2026-01-05"), is_day("yesterday"), is_day("2026-01-05T00:00Z")
    (True, True, False)
    """
    return re.fullmatch(r"today|yesterday|\d{4}-?\d\d-?\d\d", text.strip().lower()) is not None


def iso(ms: int) -> str:
    """Date and time to the second, UTC.

    >>> iso(86_400_000)
    '1970-01-02 00:00:00'
    """
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms)).strftime("%Y-%m-%d %H:%M:%S")


def iso_ms(ms: int) -> str:
    """Date and time to the millisecond, UTC.

    >>> iso_ms(86_400_007)
    '1970-01-02 00:00:00.007'
    """
    return f"{iso(ms)}.{ms % 1000:03d}"


def short_span(seconds: float) -> str:
    """A rough length of time for progress lines.

    >>> short_span(5), short_span(125), short_span(7300)
    ('5s', '2m05s', '2h01m')
    """
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    if whole < 86_400:
        return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
    return f"{whole // 86_400}d{whole % 86_400 // 3600:02d}h"
