"""What is measured of a running bot: one table, read by ``tradebot status`` and by the metrics endpoint.

Rooms keep plain counters; here they get a name, a kind and a sentence. Names follow Prometheus: base units, counters
without the ``_total`` that the exposition adds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal

from tradebot.exchange.bitget.latency import Latency
from tradebot.exchange.bitget.listener import PRIVATE

if TYPE_CHECKING:
    from tradebot.daemon.app import Daemon
    from tradebot.exchange.venues.feed import VenueFeed

Kind = Literal["counter", "gauge"]
Value = float | Mapping[str, float]
"""One number, or one for each value of the metric's label."""

TRADABILITY = {"active": 0.0, "reducing": 1.0, "halted": 2.0}


@dataclass(frozen=True, slots=True)
class Metric:
    """``label`` names what a mapping's keys are."""

    name: str
    kind: Kind
    text: str
    read: Callable[[Daemon], Value]
    label: str = ""


@dataclass(frozen=True, slots=True)
class Durations:
    """A distribution of durations."""

    name: str
    text: str
    read: Callable[[Daemon], Latency]


def _reconnects(daemon: Daemon) -> Value:
    found = {"public": 0.0, "private": 0.0}
    for connection in daemon.stream.connections:
        found["private" if connection.rank == PRIVATE else "public"] += max(0, connection.sessions - 1)
    return found


def _sum_over_connections(read: Callable[..., int]) -> Callable[[Daemon], Value]:
    return lambda daemon: sum(read(connection) for connection in daemon.stream.connections)


def _up(daemon: Daemon) -> Value:
    sides: dict[str, float] = {}
    for connection in daemon.stream.connections:
        side = "private" if connection.rank == PRIVATE else "public"
        sides[side] = min(sides.get(side, 1.0), float(connection.up))
    return sides


def _book_ages(daemon: Daemon) -> Value:
    now = daemon.clock.now_ms()
    return {symbol: max(0, now - heard) / 1_000 for symbol, heard in daemon.feed.last_message_ms.items()}


def _venues(read: Callable[[VenueFeed], float]) -> Callable[[Daemon], Value]:
    return lambda daemon: {feed.name: float(read(feed)) for part in daemon.venues for feed in part.books.feeds}


def _resolutions(daemon: Daemon) -> Value:
    return {name: float(count) for name, count in asdict(daemon.resolutions).items()}


def _floats(counted: Mapping[str, int]) -> Value:
    return {name: float(count) for name, count in sorted(counted.items())}


def _counter(name: str, text: str, read: Callable[[Daemon], Value], label: str = "") -> Metric:
    return Metric(name, "counter", text, read, label)


def _gauge(name: str, text: str, read: Callable[[Daemon], Value], label: str = "") -> Metric:
    return Metric(name, "gauge", text, read, label)


METRICS: tuple[Metric, ...] = (
    _gauge("stream_up", "Whether every connection of this side is subscribed.", _up, "side"),
    _counter("stream_reconnects", "Connections that were lost and made again.", _reconnects, "side"),
    _counter("stream_frames", "Data frames handled.", lambda d: d.stream.feed.frames),
    _counter(
        "stream_unreadable_frames",
        "Frames that could not be read.",
        lambda d: d.stream.feed.unreadable + sum(connection.unreadable for connection in d.stream.connections),
    ),
    _counter(
        "stream_unreadable_by_channel",
        "Of these, data frames, by what they were of.",
        lambda d: {c or "unknown": float(n) for c, n in sorted(d.stream.feed.unreadable_by_channel.items())},
        "channel",
    ),
    _counter(
        "stream_strays",
        "Messages, or rows of them, of instruments that were not subscribed.",
        lambda d: _floats(d.stream.feed.strays),
        "channel",
    ),
    _counter("stream_duplicates", "Updates and trades that were not new.", lambda d: d.stream.feed.duplicates),
    _counter("stream_silences", "Subscriptions that said nothing for too long.", lambda d: d.stream.silences),
    _counter("stream_renewals", "Silent subscriptions that were renewed.", lambda d: d.stream.renewals),
    _counter("stream_given_up", "Connections left because a subscription stayed silent.", lambda d: d.stream.given_up),
    _counter(
        "stream_worn_out",
        "Connections replaced because their subscribe requests were used up.",
        _sum_over_connections(lambda connection: connection.worn_out),
    ),
    _gauge("stream_queue_frames", "Frames that wait to be handled.", lambda d: d.stream.gate.depth),
    _gauge("stream_queue_age_seconds", "How long the oldest of them waits.", lambda d: d.stream.gate.age_s()),
    _counter("stream_held", "How often a connection was not read for a while.", lambda d: d.stream.gate.held),
    _counter("stream_behind", "How often the bot was too far behind to act.", lambda d: d.stream.times_behind),
    _counter(
        "book_resyncs",
        "Fresh snapshots of a book asked for, by reason.",
        lambda d: _floats(Counter(d.stream.feed.resyncs_by_kind)),
        "reason",
    ),
    _counter("book_updates", "States of books that were acted on.", lambda d: d.feed.book_updates),
    _counter("book_updates_merged", "Updates of books told with a later one.", lambda d: d.stream.feed.merged),
    _gauge("book_age_seconds", "Time since the last state of a book.", _book_ages, "symbol"),
    _gauge(
        "feed_ok",
        "Whether a symbol's market data can be trusted.",
        lambda d: {s.name: float(s.feed_ok) for s in d.engine.symbols.values() if s.name in d.config.symbols},
        "symbol",
    ),
    _counter("feed_stale_periods", "How often a symbol's data stopped being trusted.", lambda d: d.feed.stale_periods),
    _counter("rows_sealed", "Rows of the 1 s grid.", lambda d: d.feed.rows.sealed),
    _counter("rows_sealed_by_clock", "Of these, those of symbols that were quiet.", lambda d: d.feed.rows.late),
    _counter("candles_filled", "Candles the exchange does not have.", lambda d: d.feed.sealer.filled),
    _counter("candles_revised", "Candles corrected after they were sealed.", lambda d: d.feed.sealer.revised),
    _counter(
        "candles_read_back",
        "Candles that the stream did not tell in time and REST did.",
        lambda d: d.feed.sealer.read_back,
    ),
    _counter(
        "candles_repeated",
        "Rows of candles that came twice in one message or answer.",
        lambda d: d.feed.sealer.repeated + d.rest.repeated_candles,
    ),
    _counter(
        "private_duplicates", "Pushes of orders and executions that had come before.", lambda d: d.repeats.duplicates
    ),
    _counter("private_late", "Pushes of orders and executions that came after later ones.", lambda d: d.repeats.late),
    _counter("rest_requests", "Requests sent.", lambda d: d.rest.http.counts.requests),
    _counter("rest_retries", "Requests sent again.", lambda d: d.rest.http.counts.retries),
    _counter("rest_rate_limited", "Answers 429.", lambda d: d.rest.http.counts.rate_limited),
    _counter("rest_clock_refused", "Timestamps refused.", lambda d: d.rest.http.counts.clock_refused),
    _counter("rest_unreadable_rows", "Rows of answers that could not be read.", lambda d: d.rest.unreadable),
    _counter(
        "rest_unknown_outcomes",
        "Commands of which it was not known whether they had been carried out.",
        lambda d: d.rest.http.counts.unknown,
    ),
    _counter("commands", "Commands by outcome.", lambda d: _floats(d.tally.outcomes), "outcome"),
    _counter("commands_resolved", "Unknown outcomes that became known.", lambda d: d.tally.resolved),
    _counter("commands_asked_after", "What asking after unknown outcomes came to.", _resolutions, "answer"),
    _counter("differences", "Differences found on reconciling.", lambda d: _floats(d.tally.differences), "kind"),
    _gauge("clock_offset_seconds", "Exchange's clock minus this machine's.", lambda d: d.drive.time.offset_ms / 1_000),
    _gauge("clock_error_seconds", "How far off the bot's time may be.", lambda d: d.drive.time.error_ms / 1_000),
    _gauge("clock_drift_ppm", "How much faster the exchange's clock runs.", lambda d: d.drive.time.drift_ppm),
    _counter("clock_steps", "How often a clock was set.", lambda d: d.drive.time.steps),
    _counter("recorder_records", "Records of the market kept.", lambda d: d.recording.kept().records),
    _counter("recorder_lost", "Records lost to a full or slow disk.", lambda d: d.recording.kept().lost),
    _gauge("recorder_failing", "Whether nothing can be written now.", lambda d: float(d.recording.kept().failing)),
    _gauge("venue_up", "Whether another venue's stream is connected.", _venues(lambda f: f.up), "venue"),
    _counter(
        "venue_reconnects",
        "Connections to another venue tried after the first one, whether or not they came about.",
        _venues(lambda f: max(0, f.connection.attempts - 1)),
        "venue",
    ),
    _counter("venue_messages", "Changes of other venues' books.", _venues(lambda f: f.counts.messages), "venue"),
    _counter("venue_snapshots", "Snapshots of their books.", _venues(lambda f: f.counts.snapshots), "venue"),
    _counter("venue_resyncs", "Books of other venues that broke.", _venues(lambda f: f.counts.resyncs), "venue"),
    _counter("venue_renewals", "Silent subscriptions renewed.", _venues(lambda f: f.counts.renewals), "venue"),
    _counter("venue_unreadable", "Messages that could not be read.", _venues(lambda f: f.counts.unreadable), "venue"),
    _counter("events", "Events sequenced.", lambda d: d.sequencer.events),
    _counter("forecasts", "Forecasts received.", lambda d: d.tally.forecasts),
    _counter(
        "references_missed",
        "Candles decided on without that of a reference.",
        lambda d: _floats(d.engine.leaders.missed),
        "symbol",
    ),
    _counter("forecasts_late", "Forecasts too late to trade.", lambda d: d.tally.late_forecasts),
    _counter("signals", "Decisions to act.", lambda d: d.tally.signals),
    _counter("signals_blocked", "Of these, blocked by risk.", lambda d: d.tally.blocked),
    _counter("orders", "Orders placed.", lambda d: d.tally.orders),
    _counter("fills", "Executions.", lambda d: d.tally.fills),
    _gauge("equity_usdt", "Equity at mark prices.", lambda d: float(d.engine.live_equity() or 0)),
    _gauge(
        "daily_loss_ratio",
        "Lost since 00:00 UTC, of equity then.",
        lambda d: float(d.engine.breakers.daily_loss() or 0),
    ),
    _gauge(
        "drawdown_ratio",
        "Fall of profit below its peak, of equity there.",
        lambda d: float(d.engine.breakers.drawdown() or 0),
    ),
    _gauge("losses_in_a_row", "Losing trades since the last that earned.", lambda d: d.engine.state.track.losses),
    _gauge(
        "tradability", "0 active, 1 reducing (no entries), 2 halted.", lambda d: TRADABILITY[d.engine.state.tradability]
    ),
)

DURATIONS: tuple[Durations, ...] = (
    Durations("rest_seconds", "Time between a request and its answer, or giving up.", lambda d: d.rest.http.answered),
    Durations(
        "stream_wait_seconds",
        "Time between a frame's arrival and the end of its handling.",
        lambda d: d.stream.gate.waited,
    ),
    Durations(
        "book_lateness_seconds",
        "Age of book updates by the exchange's clock when they were handled.",
        lambda d: d.stream.lateness,
    ),
)


def health(daemon: Daemon) -> dict[str, float | dict[str, float]]:
    """Every metric by name: a number, or numbers by label; of distributions the p50, p99 and highest, in seconds."""
    found: dict[str, float | dict[str, float]] = {}
    for metric in METRICS:
        value = metric.read(daemon)
        found[metric.name] = dict(value) if isinstance(value, Mapping) else float(value)
    for durations in DURATIONS:
        latency = durations.read(daemon)
        found[durations.name] = {
            "p50": latency.quantile(0.5) / 1_000,
            "p99": latency.quantile(0.99) / 1_000,
            "max": latency.highest / 1_000,
        }
    return found
