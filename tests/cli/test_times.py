"""Moments as people write them."""

from __future__ import annotations

import pytest

from tradebot.cli.times import iso, parse_time, short_span
from tradebot.errors import UsageError

NOW = 1_762_351_200_000
"""2025-11-05 14:00:00 UTC"""


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("now", "2025-11-05 14:00:00"),
        ("1h ago", "2025-11-05 13:00:00"),
        ("2 days ago", "2025-11-03 14:00:00"),
        ("1 day 2 hours ago", "2025-11-04 12:00:00"),
        ("-90m", "2025-11-05 12:30:00"),
        ("today", "2025-11-05 00:00:00"),
        ("Yesterday", "2025-11-04 00:00:00"),
        ("2025-11-03", "2025-11-03 00:00:00"),
        ("2025-11-03 08:30", "2025-11-03 08:30:00"),
        ("2025-11-03T08:30:00Z", "2025-11-03 08:30:00"),
        ("2025-11-03T08:30:00+02:00", "2025-11-03 06:30:00"),
        ("1762351200000", "2025-11-05 14:00:00"),
    ],
)
def test_a_moment_is_read_as_written(text: str, moment: str) -> None:
    assert iso(parse_time(text, NOW)) == moment


@pytest.mark.parametrize("text", ["", "soon", "1 ago", "ago", "5", "2025-13-01", "1h"])
def test_what_is_no_moment_is_refused_with_examples(text: str) -> None:
    with pytest.raises(UsageError, match="is not a time; write '1h ago'"):
        parse_time(text, NOW)


def test_spans_round_up_to_the_next_unit() -> None:
    assert [short_span(s) for s in (0.4, 59.6, 60, 3599, 86_399, 90_000)] == [
        "0s", "1m00s", "1m00s", "59m59s", "23h59m", "1d01h",
    ]  # fmt: skip
