"""What has happened to models between two looks at the bot, as lines that stay where there is no live view."""

from __future__ import annotations

from tradebot.cli.times import iso
from tradebot.daemon.snapshot import JobSnapshot, Snapshot
from tradebot.events.models import model_version


class News:
    """Remembers what was told: every retrain that ended is told once, and every version that took over from another."""

    def __init__(self) -> None:
        self._ended: set[str] = set()
        self._serving: dict[tuple[str, str], str] = {}

    def of(self, snapshot: Snapshot) -> list[str]:
        """What is new in ``snapshot``, oldest first."""
        lines = [
            f"retrain {job_name(job)}: {job['verdict']} {job.get('reason', '')}".rstrip()
            for job in snapshot.get("jobs", [])
            if job.get("verdict") and job.get("id", "") not in self._ended
        ]
        self._ended.update(job.get("id", "") for job in snapshot.get("jobs", []) if job.get("verdict"))
        for symbol in snapshot.get("symbols", []):
            for one in symbol.get("models", []):
                name, model, version = symbol.get("symbol", ""), one.get("model", ""), one.get("version", "")
                before = self._serving.get((name, model), version)
                self._serving[name, model] = version
                if before != version:
                    since = f" since {iso(one['since_ms'])} UTC" if one.get("since_ms") else ""
                    what = f"{model_version(model, version)} serves{since}"
                    lines.append(f"{name}: {what}, before it {model_version(model, before)}")
        return lines


def job_name(job: JobSnapshot) -> str:
    """Symbol and model of a job, or its id."""
    return f"{job.get('symbol', '')} {job.get('model', '')}".strip() or job.get("id", "")
