"""The bot on a terminal: the live view, plain progress lines where there is no terminal, the demo's closing words.

Everything is drawn from a plain ``Snapshot`` (``tradebot.daemon.snapshot``); keys that are absent are not drawn.
"""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import TextIO

from rich.columns import Columns
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from tradebot.cli.entries import obstacle_line, stopped_lines
from tradebot.cli.news import News, job_name
from tradebot.cli.times import iso, short_span
from tradebot.daemon.snapshot import JobSnapshot, ModelSnapshot, SignalSnapshot, Snapshot, SymbolSnapshot
from tradebot.events.models import model_version

LEVELS = 5
SIGNALS = 8
"""Signals shown where the height does not matter."""
WIDTH = 500
"""Columns of a page that is not shown on a terminal: wide enough not to break its lines."""
WIDE_SYMBOLS = 3
"""More symbols than this are shown as rows of a table instead of books."""
REFRESH_S = 0.25
LINE_S = 5.0

_VERDICT = {"pass": "green", "shrink": "yellow", "block": "red"}
_JOB = {"promoted": "green", "provisional": "yellow", "refused": "yellow", "failed": "red", "cancelled": "yellow"}


class Display:
    """Where a run shows itself: a live view when ``stream`` is a terminal, else a line every few seconds.

    Use as a context; ``show`` may be called as often as one likes and draws at its own pace.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._console = Console(file=self._stream, highlight=False)
        self._live: Live | None = None
        self._next = 0.0
        self._phase = ""
        self._last_job = ""
        self._news = News()

    def __enter__(self) -> Display:
        if self._console.is_terminal:
            self._live = Live(console=self._console, auto_refresh=False, transient=True, vertical_overflow="crop")
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Take the live view away; what is printed afterwards stays."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def show(self, snapshot: Snapshot) -> None:
        """Draw the newest state if it is time to."""
        now = time.monotonic()
        if self._live is not None:
            if now >= self._next:
                self._next = now + REFRESH_S
                self._live.update(render(snapshot, fit=True), refresh=True)
            return
        for line in self._news.of(snapshot):
            self.note(line)
        phase, job = snapshot.get("phase", ""), _job_line(snapshot)
        if now >= self._next or phase != self._phase or (job and job != self._last_job and "eta" not in job):
            self._next, self._phase, self._last_job = now + LINE_S, phase, job
            self._stream.write(plain(snapshot) + "\n")
            self._stream.flush()

    def note(self, text: str) -> None:
        """One line that stays (above the live view)."""
        if self._live is not None:
            self._console.print(Text(text))
        else:
            self._stream.write(text + "\n")
            self._stream.flush()


def page(stream: TextIO, what: RenderableType) -> None:
    """Print something that stays: as wide as the terminal; elsewhere plain lines without spaces at their ends."""
    if stream.isatty():
        Console(file=stream, highlight=False).print(what)
        return
    text = io.StringIO()
    Console(file=text, highlight=False, width=WIDTH, color_system=None, force_terminal=False).print(what)
    stream.write("".join(f"{line.rstrip()}\n" for line in text.getvalue().splitlines()))
    stream.flush()


def follow(fetch: Callable[[], Snapshot]) -> None:
    """Show what ``fetch`` gives, again and again, until Ctrl-C."""
    with Display(sys.stdout) as display:
        while True:
            display.show(fetch())
            time.sleep(REFRESH_S)


# --- one snapshot ---------------------------------------------------------------------------------------------------


def render(snapshot: Snapshot, *, fit: bool = False) -> RenderableType:
    """The whole view. Times UTC, amounts USDT. ``fit``: no taller than the terminal, and no line is broken."""
    return _View(snapshot, fit)


@dataclass(frozen=True, slots=True)
class _View:
    """What matters most stands first; signals take the rows that are left."""

    snapshot: Snapshot
    fit: bool

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        shot = self.snapshot
        symbols, signals = shot.get("symbols", []), shot.get("signals", [])
        above: list[RenderableType] = [self._line(line) for line in _header(shot)]
        if shot.get("from_ms") and shot.get("to_ms"):
            above.append(_span(shot))
        above += [self._line(job) if isinstance(job, Text) else job for job in map(_job, shot.get("jobs", [])[:4])]
        money = _money(shot)
        if money:
            above.append(money)
        if 0 < len(symbols) <= WIDE_SYMBOLS:
            above.append(Columns([_symbol(symbol) for symbol in symbols]))
        elif symbols:
            above.append(_grid(symbols))
        below: list[RenderableType] = []
        if shot.get("next_retrain_ms"):
            below.append(Text(f"next retrain {iso(shot['next_retrain_ms'])} UTC", style="dim"))
        rows = SIGNALS
        if self.fit:
            taken = sum(len(console.render_lines(part, options, pad=False)) for part in (*above, *below))
            rows = max(0, options.size.height - taken - 2)  # the table's head, and the line the cursor stands on
        yield from above
        if rows:
            yield _signals(signals[:rows], many=len(symbols) > 1)
        yield from below

    def _line(self, text: Text) -> Text:
        if self.fit:
            text.no_wrap, text.overflow = True, "ellipsis"
        return text


def _header(snapshot: Snapshot) -> list[Text]:
    text = Text()
    text.append(f"tradebot {snapshot.get('mode', '')}", style="bold red" if snapshot.get("mode") == "live" else "bold")
    state = snapshot.get("tradability", "active")
    if state != "active":
        text.append(f"  {state.upper()} {snapshot.get('halt_reason', '')}".rstrip(), style="bold red")
    if snapshot.get("phase"):
        text.append(f"  {snapshot['phase']}")
    if snapshot.get("now_ms"):
        text.append(f"  {iso(snapshot['now_ms'])} UTC", style="cyan")
    about = []
    if "wall_s" in snapshot:
        about.append(f"{short_span(snapshot['wall_s'])} since start")
    if "speed" in snapshot:
        rate = f" ({snapshot['rate']:.0f} x the wall)" if snapshot.get("rate") else ""
        about.append(f"speed {snapshot['speed']}{rate}")
    rest = [Text(part, style="dim") for part in (snapshot.get("source", ""), "  ".join(about)) if part]
    alarms = [Text(why, style="bold red") for why in (*stopped_lines(snapshot), obstacle_line(snapshot)) if why]
    return [text, *rest, *alarms]


def _share(snapshot: Snapshot) -> float:
    span = snapshot["to_ms"] - snapshot["from_ms"]
    return min(1.0, max(0.0, (snapshot.get("now_ms", 0) - snapshot["from_ms"]) / span)) if span > 0 else 1.0


def _span(snapshot: Snapshot) -> RenderableType:
    share = _share(snapshot)
    done = (snapshot.get("now_ms", 0) - snapshot["from_ms"]) / 1000
    row = Table.grid(padding=(0, 1))
    left = ""
    if 0.02 < share < 1 and snapshot.get("wall_s") and snapshot.get("rate"):
        left = f", about {short_span((snapshot['to_ms'] - snapshot['now_ms']) / 1000 / snapshot['rate'])} left"
    row.add_column()
    row.add_column(no_wrap=True, overflow="ellipsis")
    row.add_row(
        ProgressBar(total=1.0, completed=share, width=24),
        Text(
            f"{share:4.0%}  {short_span(max(0.0, done))} of "
            f"{short_span((snapshot['to_ms'] - snapshot['from_ms']) / 1000)} traded{left}"
        ),
    )
    return row


def _signed(value: float, digits: int = 2) -> Text:
    return Text(f"{value:+,.{digits}f}", style="green" if value > 0 else "red" if value < 0 else "")


def _money(snapshot: Snapshot) -> Text:
    text = Text()
    if "equity" in snapshot:
        text.append(f"equity {snapshot['equity']:,.2f}", style="bold")
        start = snapshot.get("start_equity")
        if start:
            text.append(" ")
            text.append_text(_signed(snapshot["equity"] - start))
            text.append(f" ({snapshot['equity'] / start - 1:+.2%}) since start")
    for name in ("realised", "fees", "funding"):
        if name in snapshot:
            text.append(f"  {name} {snapshot[name]:+,.2f}")
    counts = snapshot.get("counts", {})
    if counts:
        text.append(
            f"  signals {counts.get('signals', 0)} ({counts.get('blocked', 0)} blocked)  "
            f"orders {counts.get('orders', 0)}  fills {counts.get('fills', 0)}",
            style="dim",
        )
    return text


def _symbol(symbol: SymbolSnapshot) -> Panel:
    """Price, the top of the book as a ladder with bars, position and model of one symbol."""
    title = Text(symbol.get("symbol", ""), style="bold")
    if "price" in symbol:
        title.append(f" {symbol['price']:g}")
    if "change_bp" in symbol:
        title.append(f" {symbol['change_bp']:+.0f} bp since start")
    ladder = Table.grid(padding=(0, 1))
    for justify in ("left", "right", "right", "left", "left", "left"):
        ladder.add_column(justify=justify)
    bids, asks = symbol.get("bids", [])[:LEVELS], symbol.get("asks", [])[:LEVELS]
    largest = max((size for _, size in [*bids, *asks]), default=0.0)
    for i in range(max(len(bids), len(asks))):
        bid, ask = bids[i] if i < len(bids) else None, asks[i] if i < len(asks) else None
        ladder.add_row(
            Text(_bar(bid[1], largest).rjust(8) if bid else "", style="green"),
            f"{bid[1]:,.4g}" if bid else "",
            Text(f"{bid[0]:g}" if bid else "", style="green"),
            Text(f"{ask[0]:g}" if ask else "", style="red"),
            f"{ask[1]:,.4g}" if ask else "",
            Text(_bar(ask[1], largest) if ask else "", style="red"),
        )
    lines: list[RenderableType] = [ladder]
    state = Text()
    if "imbalance" in symbol:
        state.append(f"imbalance {symbol['imbalance']:+.2f}  ", style="green" if symbol["imbalance"] > 0 else "red")
    if not symbol.get("feed_ok", True):
        state.append(f"FEED: {symbol.get('feed_reason', 'down')}", style="bold red")
    elif "book_age_ms" in symbol:
        state.append(f"book {symbol['book_age_ms'] / 1000:.1f} s old", style="dim")
    lines += [state, _position(symbol), _model(symbol)]
    return Panel(Group(*lines), title=title, title_align="left", width=64)


def _bar(size: float, largest: float) -> str:
    return "█" * max(1, round(8 * size / largest)) if largest > 0 else ""


def _position(symbol: SymbolSnapshot) -> Text:
    qty, theirs = symbol.get("position_qty", 0.0), symbol.get("exchange_qty")
    disputed = Text("" if theirs is None else f"  the exchange says {theirs:g}", style="bold red")
    if not qty:
        return Text("flat", style="dim") + disputed
    text = Text("long " if qty > 0 else "short ", style="green" if qty > 0 else "red")
    text.append(f"{abs(qty):g}")
    if "entry_price" in symbol:
        text.append(f" @ {symbol['entry_price']:g}")
    if "unrealised" in symbol:
        text.append("  ")
        text.append_text(_signed(symbol["unrealised"]))
    text.append(f"  stop {symbol['stop_price']:g}" if "stop_price" in symbol else "  NO STOP YET")
    if symbol.get("dust"):
        text.append("  dust: too small for an order", style="yellow")
    return text + disputed


def _model(symbol: SymbolSnapshot) -> Text:
    if not symbol.get("model_version"):
        return Text("no model yet", style="yellow")
    one: ModelSnapshot = {"model": symbol.get("model", "model"), "version": symbol["model_version"]}
    models = symbol.get("models") or [one]
    text = Text(", ".join(f"{each.get('model', 'model')} {each.get('version', '')}" for each in models))
    newest = max(models, key=lambda each: each.get("since_ms", 0))
    if newest.get("since_ms"):
        which = f"  {newest.get('model', 'model')}" if len(models) > 1 else " "
        text.append(f"{which} since {iso(newest['since_ms'])}", style="dim")
    if symbol.get("provisional"):
        text.append("  provisional: has not beaten the baseline", style="yellow")
    return text


def _grid(symbols: list[SymbolSnapshot]) -> Table:
    table = Table(box=None, padding=(0, 2), header_style="dim")
    for name in ("symbol", "price", "imbalance", "position", "model"):
        table.add_column(name)
    for symbol in symbols:
        feed = Text("" if symbol.get("feed_ok", True) else f" FEED {symbol.get('feed_reason', '')}", style="red")
        table.add_row(
            Text(symbol.get("symbol", "")) + feed,
            f"{symbol['price']:g}" if "price" in symbol else "",
            f"{symbol['imbalance']:+.2f}" if "imbalance" in symbol else "",
            _position(symbol),
            _model(symbol),
        )
    return table


def _signals(signals: list[SignalSnapshot], *, many: bool) -> RenderableType:
    if not signals:
        return Text("no signal yet", style="dim")
    table = Table(box=None, padding=(0, 1), header_style="dim", expand=False)
    names = ["time (UTC)", *(["symbol"] if many else []), "signal", "verdict", "forecast", "model", "why"]
    for name in names:
        # the last one alone gives way; its cells are cut, not broken
        table.add_column(name, no_wrap=name != "why", overflow="ellipsis")
    for signal in signals:
        verdict = signal.get("verdict", "")
        expected = signal.get("expected_bp")
        blocked = f" [{signal['blocked_by']}]" if signal.get("blocked_by") else ""
        table.add_row(
            iso(signal.get("ts_ms", 0))[5:],
            *([signal.get("symbol", "")] if many else []),
            signal.get("action", ""),
            Text(verdict, style=_VERDICT.get(verdict, "")),
            "" if expected is None else f"{expected:+.2f} bp",
            model_version(signal.get("model", ""), signal.get("version", ""))
            + ("~" if signal.get("provisional") else ""),
            Text(signal.get("reason", "") + blocked, no_wrap=True, overflow="ellipsis"),
        )
    return table


def _job(job: JobSnapshot) -> RenderableType:
    text = Text(f"retrain {job_name(job)}  ")
    if job.get("state") == "done":
        verdict = job.get("verdict", "")
        text.append(verdict, style=_JOB.get(verdict, ""))
        text.append(f"  {job.get('reason', '')}")
        return text
    if job.get("state") == "pending":
        text.append("waiting for a runner", style="dim")
        return text
    eta = job.get("eta_s")
    took = Text(short_span(job.get("elapsed_s", 0.0)) + (f", eta {short_span(eta)}" if eta is not None else ""))
    text.append(_step(job))
    total = job.get("total", 0)
    row = Table.grid(padding=(0, 1))
    row.add_column(no_wrap=True)
    if total > 1:
        row.add_column(min_width=10)
        row.add_column(no_wrap=True)
        row.add_row(text, ProgressBar(total=total, completed=job.get("done", 0), width=20), took)
    else:
        row.add_column(no_wrap=True)
        row.add_row(text, took)
    return row


def _step(job: JobSnapshot) -> str:
    """``tune 3/8 loss 0.98``; a stage of one step is not counted."""
    count = f"{job.get('done', 0)}/{job['total']}" if job.get("total", 0) > 1 else ""
    return " ".join(part for part in (job.get("stage", ""), count, job.get("message", "")) if part)


# --- without a terminal ---------------------------------------------------------------------------------------------


def plain(snapshot: Snapshot) -> str:
    """One line of progress."""
    parts = [short_span(snapshot.get("wall_s", 0.0)), snapshot.get("phase", "")]
    if snapshot.get("now_ms"):
        parts.append(iso(snapshot["now_ms"]))
    if snapshot.get("from_ms") and snapshot.get("to_ms"):
        parts.append(f"{_share(snapshot):.0%}")
    if "equity" in snapshot:
        parts.append(f"equity {snapshot['equity']:.2f}")
    for symbol in snapshot.get("symbols", []):
        position = symbol.get("position_qty", 0.0)
        held = f" {position:+g}" if position else ""
        version = model_version(symbol.get("model", ""), symbol.get("model_version", ""))
        version = f" {version}{'~' if symbol.get('provisional') else ''}" if version else ""
        parts.append(f"{symbol.get('symbol', '')} {symbol.get('price', 0.0):g}{held}{version}")
    counts = snapshot.get("counts", {})
    if counts:
        parts.append(
            f"signals {counts.get('signals', 0)} ({counts.get('blocked', 0)} blocked) "
            f"orders {counts.get('orders', 0)} fills {counts.get('fills', 0)}"
        )
    if snapshot.get("tradability", "active") != "active":
        parts.append(f"{snapshot.get('tradability', '')} {snapshot.get('halt_reason', '')}".rstrip())
    parts += stopped_lines(snapshot)
    parts.append(_job_line(snapshot))
    return "  ".join(part for part in parts if part)


def _job_line(snapshot: Snapshot) -> str:
    running = [job for job in snapshot.get("jobs", []) if job.get("state") == "running"]
    if not running:
        return ""
    job = running[0]
    eta = job.get("eta_s")
    step = _step({**job, "message": ""}) or "starting"
    return f"training {job_name(job)}: {step}" + (f", eta {short_span(eta)}" if eta is not None else "")
