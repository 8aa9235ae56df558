"""The kinds of trouble the exchange can be asked for: a table, from which schedules, documents and tests are made."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, Literal

Scope = Literal["public", "private", "rest"]
"""Where a fault acts: market streams, account streams, or requests."""

Mechanism = Literal["frame", "connection", "request", "exchange"]
"""What a fault gets between: a frame on its way out, a connection, a request and its answer, the exchange's state."""

BOOKS: Final = ("books",)
CANDLES: Final = ("candle",)
EXECUTIONS: Final = ("orders", "fill")
UNSURE_CODES: Final = ("40725", "45001", "40010", "40015")
"""Codes that leave open whether an order was entered (protocol section 8.3)."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of fault.

    ``scopes`` are where it can act, the first being the default. ``parameters`` are what a rule may set, with their
    defaults. ``channels`` are the channels meant when a rule names none (``candle`` stands for every interval), empty
    for all. ``endpoint`` is the request meant when a rule names none. ``noticed`` names what shows on the client's side
    that it happened.
    """

    name: str
    mechanism: Mechanism
    scopes: tuple[Scope, ...]
    meaning: str
    noticed: str
    parameters: dict[str, Any] = field(default_factory=dict)
    channels: tuple[str, ...] = ()
    endpoint: str = ""


_STREAMS: tuple[Scope, ...] = ("public", "private")

_ALL: tuple[Kind, ...] = (
    # --- frames on their way out
    Kind("drop", "frame", _STREAMS, "a push is lost", "gap: resyncs; on the account: reconciliation"),
    Kind("delay", "frame", _STREAMS, "pushes leave `delay` later, in their order", "feed age", {"delay": 1_000}),
    Kind(
        "jitter", "frame", _STREAMS,
        "pushes leave up to `jitter` later, in their order", "feed age", {"jitter": 1_000},
    ),
    Kind("duplicate", "frame", _STREAMS, "a push is sent twice", "duplicates dropped"),
    Kind(
        "reorder", "frame", _STREAMS,
        "a push is sent after the next one of its kind (`hold` at most)", "gap: resyncs", {"hold": 60_000},
    ),
    Kind(
        "corrupt_json", "frame", ("public", "private", "rest"),
        "a push, or an answer after the request was carried out, is no JSON", "unreadable frames",
    ),
    Kind(
        "truncated_frame", "frame", ("public", "private", "rest"),
        "a push, or an answer after the request was carried out, ends in the middle", "unreadable frames",
    ),
    Kind(
        "sequence_gap", "frame", ("public",),
        "a book update's numbers jump `gap` ahead", "resyncs", {"gap": 3}, BOOKS,
    ),
    Kind("sequence_reset", "frame", ("public",), "a book update starts a new numbering (pseq 0)", "resyncs", {}, BOOKS),
    Kind("wrong_checksum", "frame", ("public",), "a book update's checksum is wrong", "resyncs", {}, BOOKS),
    Kind("silent_stream", "frame", _STREAMS, "connected and acknowledged, but no data", "stale periods"),
    Kind(
        "fill_twice", "frame", ("private",),
        "an execution is reported twice", "duplicates dropped", {}, EXECUTIONS,
    ),
    Kind(
        "fills_out_of_order", "frame", ("private",),
        "order and execution reports change places (`hold` at most)", "none: the state is the same", {"hold": 1_000},
        EXECUTIONS,
    ),
    Kind(
        "push_missing", "frame", ("private",),
        "orders, executions or positions are not reported", "reconcile differences", {},
        ("orders", "fill", "positions"),
    ),
    Kind(
        "candle_gap", "frame", ("public", "rest"),
        "candles that began in this time do not exist", "candles filled flat", {}, CANDLES,
    ),
    Kind(
        "late_candle", "frame", ("public", "rest"),
        "candles become known `delay` late", "candles sealed by the clock", {"delay": 10_000}, CANDLES,
    ),
    Kind(
        "duplicate_candle", "frame", ("public", "rest"),
        "candle rows come twice", "none: rows are told apart by time", {}, CANDLES,
    ),
    # --- connections
    Kind(
        "half_open", "connection", _STREAMS,
        "what is connected when it begins never hears or answers again, not even a ping", "reconnects",
    ),
    Kind(
        "connection_drop", "connection", _STREAMS,
        "what is connected is cut, again every `every` while it lasts", "reconnects", {"every": 0},
    ),
    Kind(
        "refused_connection", "connection", _STREAMS,
        "new connections are refused: cut, or answered with HTTP `status`", "reconnects", {"status": 0},
    ),
    Kind(
        "login_refused", "connection", ("private",),
        "the login is answered with `code` and the connection closed", "reconnects", {"code": "30007"},
    ),
    # --- requests
    Kind(
        "slow_rest", "request", ("rest",),
        "answers take `delay` and up to `jitter` more, of wall time", "request latency", {"delay": 500, "jitter": 0},
    ),
    Kind(
        "rate_limit_storm", "request", ("rest",),
        "HTTP 429, nothing carried out; `body` is json, empty or both in turn", "429s", {"body": "both"},
    ),
    Kind(
        "server_error", "request", ("rest",),
        "HTTP `status` and a word of text; with `effect` after the request was carried out",
        "retries, unknown outcomes resolved", {"status": 503, "effect": False},
    ),
    Kind(
        "html_page", "request", ("rest",),
        "HTTP `status` and a page of HTML; with `effect` after the request was carried out",
        "retries, unknown outcomes resolved", {"status": 502, "effect": False},
    ),
    Kind(
        "empty_body", "request", ("rest",),
        "HTTP `status` and nothing; with `effect` after the request was carried out",
        "retries, unknown outcomes resolved", {"status": 200, "effect": False},
    ),
    Kind(
        "clock_skew", "request", ("rest", "private"),
        "the exchange's clock is `skew` ahead for signatures of requests and logins and for whoever asks the time",
        "clock offset", {"skew": 45_000},
    ),
    Kind(
        "answer_lost_after_accept", "request", ("rest",),
        "a command is carried out and not answered: cut, or with `hang` silent until the client gives up",
        "unknown outcomes resolved", {"hang": False}, (), "POST",
    ),
    Kind(
        "answer_lost_before", "request", ("rest",),
        "a command is neither carried out nor answered: cut, or with `hang` silent until the client gives up",
        "unknown outcomes resolved", {"hang": False}, (), "POST",
    ),
    Kind(
        "failure_but_stands", "request", ("rest",),
        "a command is answered with an unsure `code` (empty: one of 40725, 45001, 40010, 40015); it stands all the "
        "same, or without `effect` it does not",
        "unknown outcomes resolved", {"code": "", "effect": True}, (), "POST",
    ),
    # --- the exchange's own state
    Kind(
        "maintenance", "exchange", ("rest",),
        "the contract is under maintenance: 40844 and symbolStatus maintain", "entries blocked: symbol_status",
    ),
    Kind(
        "delisting", "exchange", ("rest",),
        "the contract's `status` is limit_open (45119 for new positions) or off (40845)",
        "entries blocked: symbol_status", {"status": "limit_open"},
    ),
    Kind(
        "tick_change", "exchange", ("rest",),
        "the contract's tick is `factor` times as large; prices off it are refused with 45115", "contract changed",
        {"factor": 5},
    ),
    Kind(
        "leverage_changed_outside", "exchange", ("rest",),
        "somebody else sets the symbol's leverage to `leverage`", "entries blocked: leverage_setting", {"leverage": 3},
    ),
    Kind(
        "position_closed_outside", "exchange", ("private",),
        "the position is closed `by` a liquidation (SYS) or by a person", "halt: forced close; foreign execution",
        {"by": "liquidation"},
    ),
)  # fmt: skip

KINDS: Final = {kind.name: kind for kind in _ALL}
"""Every kind by name."""
