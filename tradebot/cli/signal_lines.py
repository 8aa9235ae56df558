"""Decisions as lines of text: when, symbol, wanted, what risk made of it, forecast, version, id, size, why."""

from __future__ import annotations

from typing import Any

from tradebot.cli.output import Style, paint
from tradebot.cli.times import iso

Record = dict[str, Any]

VERDICT_STYLE: dict[str, Style] = {"pass": "good", "shrink": "warn", "block": "bad"}


class Versions:
    """Remembers which version each symbol's models had. Hears every decision, also those that are not shown."""

    def __init__(self) -> None:
        self._versions: dict[tuple[str, str], str] = {}

    def takeover(self, record: Record) -> str:
        """The line that says that another version decides from ``record`` on; empty where none took over."""
        from tradebot.events.models import model_version

        symbol, model, version = (str(record.get(name) or "") for name in ("symbol", "model", "version"))
        if not version:
            return ""
        before = self._versions.get((symbol, model), version)
        self._versions[symbol, model] = version
        if before == version:
            return ""
        return (
            f"{iso(int(record['ts_ms']))}  {symbol:<10}{model_version(model, version)} from here on, before it {before}"
        )


def decision_line(record: Record) -> str:
    """A decision of the audit."""
    from tradebot.events.models import model_version

    expected = record.get("expected_bp")
    forecast = f"{expected:+8.2f} bp" if isinstance(expected, int | float) else "          -"
    verdict = str(record.get("verdict", ""))
    mark = "~" if record.get("provisional") else " "
    blocked = blocked_by(record)
    why = str(record.get("reason", "")) + (f" [blocked by {', '.join(blocked)}]" if blocked else "")
    size = f" {record['qty']}" if str(record.get("qty", "0")) not in ("0", "") else ""
    version = model_version(str(record.get("model") or ""), str(record.get("version") or ""))
    return (
        f"{iso(int(record['ts_ms']))}  {record.get('symbol', ''):<10}{record.get('action', ''):<12}"
        f"{paint(f'{verdict:<7}', VERDICT_STYLE.get(verdict))}{forecast}  "
        f"{version or '-':<24}{mark} {record.get('decision_id', '')}{size}  {why}"
    )


def blocked_by(record: Record) -> list[str]:
    """Names of the checks that blocked a decision."""
    return [name for name, _, _, verdict in checks_of(record) if verdict == "block"]


def checks_of(record: Record) -> list[tuple[str, str, str, str]]:
    """The risk checks as (name, seen, allowed, verdict)."""
    rows = [check.values() if isinstance(check, dict) else check for check in record.get("checks", [])]
    return [(str(name), str(seen), str(allowed), str(verdict)) for name, seen, allowed, verdict in rows]
