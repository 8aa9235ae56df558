"""Why the bot makes no entries, in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tradebot.cli.times import iso


def stopped_lines(told: Mapping[str, Any]) -> Iterator[str]:
    """What entries have stopped for until a person settles it, from a snapshot or a demo's result: a line each."""
    for one in told.get("stopped", []):
        since = f" since {iso(one['since_ms'])} UTC" if one.get("since_ms") else ""
        what = f"{one.get('symbol', '')}: {one.get('why', '')}"
        yield f"entries stopped{since}: foreign {what}, `{one.get('command', '')}`"


def obstacle_line(snapshot: Mapping[str, Any]) -> str:
    """Why a bot that is ready would make no entry now; empty when nothing stands in the way, or it stands above."""
    known = ["foreign_position"] if snapshot.get("stopped") else []
    why = [one for one in snapshot.get("obstacles", []) if not any(name in one for name in known)]
    return f"no entries: {'; '.join(why)}" if why and snapshot.get("ready") else ""
