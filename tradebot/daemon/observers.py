"""Who is told of every record: the audit file and the log."""

from __future__ import annotations

import msgspec
import structlog

from tradebot.events import Alert, Decision, Record
from tradebot.ops.audit import AuditWriter

log = structlog.get_logger(__name__)


class AuditMirror:
    """Every decision of one run as one line of the audit file."""

    def __init__(self, audit: AuditWriter, epoch: int) -> None:
        self._audit = audit
        self._epoch = epoch

    def __call__(self, seq: int, ts_ms: int, record: Record) -> None:
        if isinstance(record, Decision):
            row = msgspec.to_builtins(record)
            row["checks"] = [msgspec.structs.asdict(check) for check in record.checks]
            row["epoch"], row["seq"] = self._epoch, seq
            self._audit.write(row)


def log_record(seq: int, ts_ms: int, record: Record) -> None:
    """Signals and alerts as log lines."""
    if isinstance(record, Decision) and record.action != "hold":
        log.info(
            "signal",
            id=record.decision_id,
            symbol=record.symbol,
            action=record.action,
            verdict=record.verdict,
            qty=str(record.qty),
            reason=record.reason,
            blocked_by=[c.name for c in record.checks if c.verdict == "block"],
            provisional=record.provisional,
        )
    elif isinstance(record, Alert):
        emit = log.error if record.severity == "critical" else log.warning
        emit("alert", code=record.code, symbol=record.symbol, message=record.message)
