"""Outcomes as a page of Markdown. Nothing is written here that no outcome or reference says."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import mean, stdev

from benchmarks.results.cases import CUT_MS, Case, Form
from benchmarks.results.outcome import Outcome, code_sha256
from benchmarks.results.words import INTRODUCTION, NOT_HERE, SECTIONS, Section
from tradebot.ops.files import write_atomic
from tradebot.registry import Metric

Found = Sequence[tuple[Case, Outcome | None]]
Column = tuple[str, Callable[[Outcome], str]]


def write_page(out: Path, form: Form, found: Found) -> None:
    """The page of a form. Cases that have not run, failed, or are of a family that is not there are listed as such."""
    parts = [
        "# Results",
        f"<!-- made by `make results{' RESULTS=full' if form == 'full' else ''}`; do not edit -->",
        INTRODUCTION.format(cut=_day(CUT_MS), form=_form(form), machine=_machine()),
    ]
    for section in SECTIONS:
        own = [(case, outcome) for case, outcome in found if case.section == section.name]
        if own:
            parts += _section(section, own)
    parts += ["## What is not here", NOT_HERE, _missing(found), "## Of which code and data", _origins(found)]
    write_atomic(out, ("\n\n".join(part for part in parts if part) + "\n").encode())


def _form(form: Form) -> str:
    short = (
        "This is the **short form** (about an hour on two cores): one seed (three where nets are "
        "walked), few trials, small variants, and one network of the full size beside them. "
        "`make results RESULTS=full` trains every variant on more files, with 50 trials and the full "
        "sizes; it takes days on two cores."
    )
    return short if form == "short" else "This is the **full form**."


def _section(section: Section, own: Found) -> list[str]:
    done = [outcome for _, outcome in own if outcome is not None and outcome.status == "done"]
    parts = [f"## {section.title}", section.published]
    if done:
        parts += [_table(section, done), _told(section, done)]
    else:
        parts.append("No case of this section has finished; see below.")
    return parts


def _table(section: Section, done: Sequence[Outcome]) -> str:
    columns: list[Column] = [("model", _model), ("rows", lambda o: f"{o.rows:,}")]
    columns += [(title, _metric(name, digits, scale)) for title, name, digits, scale in section.columns]
    columns += [("made in", lambda o: f"{o.train_s:.0f} s")]
    if any(outcome.latency_us is not None for outcome in done):
        columns.append(("a forecast", lambda o: "" if o.latency_us is None else f"{o.latency_us:.0f} µs"))
    if any(outcome.verdict for outcome in done):
        columns.append(("gate", lambda o: o.verdict))
    rows = [[cell(outcome) for _, cell in columns] for outcome in done]
    return _markdown([title for title, _ in columns], rows)


def _told(section: Section, done: Sequence[Outcome]) -> str:
    """How often an interval lies beyond the baseline: the only thing that may be concluded from a table."""
    lines = []
    for title, name, better in section.conclusions:
        metrics = [outcome.metrics[name] for outcome in done if name in outcome.metrics]
        known = [m for m in metrics if m.low is not None and m.high is not None]
        if not known:
            continue
        least = [max(0.0, m.baseline or 0.0) if better == "positive" else m.baseline or 0.0 for m in known]
        beyond = sum(
            (m.high or 0.0) < limit if better == "below" else (m.low or 0.0) > limit
            for m, limit in zip(known, least, strict=True)
        )
        than = "the baseline and nothing" if better == "positive" else "the baseline"
        lines.append(f"- {title}: the whole interval is better than {than} for {beyond} of {len(known)}.")
    return "\n".join([*lines, *_over_seeds(done)])


def _over_seeds(done: Sequence[Outcome]) -> list[str]:
    """Mean and spread of the Sharpe ratios of walks that differ in their seed only."""
    found: dict[str, list[float]] = {}
    for outcome in done:
        sharpe = outcome.metrics.get("sharpe")
        if sharpe is not None:
            found.setdefault(_model(outcome).rpartition(", seed")[0], []).append(sharpe.value or 0.0)
    return [
        f"- {model}): Sharpe over {len(of)} seeds {mean(of):.2f} ± {stdev(of):.2f}."
        for model, of in found.items()
        if len(of) > 1
    ]


def _model(outcome: Outcome) -> str:
    case = outcome.case
    given = ", ".join(f"{name} {value}" for name, value in case.options.items())
    seed = f", seed {case.seed}" if case.way == "walk" else ""
    venue = case.file.partition("_")[0]
    return f"{case.symbol} {case.interval} ({venue}{', ' if given else ''}{given}{seed})"


def _metric(name: str, digits: int, scale: float) -> Callable[[Outcome], str]:
    """Value, interval, and what the baseline reaches in the same place."""

    def text(value: float | None) -> str:
        return "–" if value is None else f"{value * scale:,.{digits}f}"

    def cell(outcome: Outcome) -> str:
        metric: Metric | None = outcome.metrics.get(name)
        if metric is None:
            return ""
        told = text(metric.value)
        if metric.low is not None and metric.high is not None:
            told += f" [{text(metric.low)}, {text(metric.high)}]"
        if metric.baseline is not None:
            told += f" vs {text(metric.baseline)}"
        return told

    return cell


def _missing(found: Found) -> str:
    lines = []
    for case, outcome in found:
        if outcome is None:
            lines.append(f"- `{case.name}`: has not run")
        elif outcome.status != "done":
            lines.append(f"- `{case.name}`: {outcome.reason}")
    unknown = sorted({outcome.absent for _, outcome in found if outcome is not None and outcome.absent})
    if unknown:
        lines.append(f"- Inputs that were unknown in every row: {'; '.join(unknown)}")
    return "\n".join(lines)


def _origins(found: Found) -> str:
    done = [outcome for _, outcome in found if outcome is not None and outcome.status == "done"]
    rows = sorted({(o.case.family, _code(o), o.case.file, o.data_sha256[:12], _day(o.from_ms), _day(o.to_ms))
                   for o in done})  # fmt: skip
    header = ["family", "code (SHA-256)", "candles", "data (SHA-256)", "measured from", "to"]
    return _markdown(header, [list(row) for row in rows]) if rows else "Nothing has run yet."


def _code(outcome: Outcome) -> str:
    """The sources that made it; ``make results`` runs again what other sources made."""
    return outcome.code + ("" if outcome.code == code_sha256(outcome.case.family) else " (earlier)")


def _markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _day(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M")


def _machine() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return f"{os.cpu_count()} cores{f' ({model})' if model else ''}, Python {platform.python_version()}"
