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
    for all. ``endpoint`` is the request meant when a rule names none. ``noticed`` are metrics of the bot that rise by
    it, ``name`` or ``name:label``, any of them; a scope without any changes nothing that the bot need know of.
    """

    name: str
    mechanism: Mechanism
    scopes: tuple[Scope, ...]
    meaning: str
    noticed: dict[Scope, tuple[str, ...]]
    parameters: dict[str, Any] = field(default_factory=dict)
    channels: tuple[str, ...] = ()
    endpoint: str = ""


_STREAMS: tuple[Scope, ...] = ("public", "private")
_MISSED = ("differences:fill", "differences:order", "differences:stop")
_UNSURE = ("commands:unknown", "rest_retries")

_ALL: tuple[Kind, ...] = (
    # --- frames on their way out
    Kind(
        "drop", "frame", _STREAMS, "a push is lost",
        {"public": ("book_resyncs", "stream_silences"), "private": _MISSED},
    ),
    Kind(
        "delay", "frame", _STREAMS, "pushes leave `delay` later, in their order",
        {"public": ("feed_stale_periods",), "private": _MISSED}, {"delay": 1_000},
    ),
    Kind(
        "jitter", "frame", _STREAMS, "pushes leave up to `jitter` later, in their order",
        {"public": ("feed_stale_periods",), "private": _MISSED}, {"jitter": 1_000},
    ),
    Kind(
        "duplicate", "frame", _STREAMS, "a push is sent twice",
        {"public": ("stream_duplicates",), "private": ("private_duplicates",)},
    ),
    Kind(
        "reorder", "frame", _STREAMS, "a push is sent after the next one of its channel and symbol (`hold` at most)",
        {"public": ("book_resyncs",)}, {"hold": 60_000},
    ),
    Kind(
        "corrupt_json", "frame", ("public", "private", "rest"),
        "a push, or an answer after the request was carried out, is no JSON",
        {"public": ("stream_unreadable_frames",), "private": ("stream_unreadable_frames",), "rest": _UNSURE},
    ),
    Kind(
        "truncated_frame", "frame", ("public", "private", "rest"),
        "a push, or an answer after the request was carried out, ends in the middle",
        {"public": ("stream_unreadable_frames",), "private": ("stream_unreadable_frames",), "rest": _UNSURE},
    ),
    Kind(
        "sequence_gap", "frame", ("public",), "a book update's numbers jump `gap` ahead",
        {"public": ("book_resyncs:gap",)}, {"gap": 3}, BOOKS,
    ),
    Kind(
        "sequence_reset", "frame", ("public",), "a book update starts a new numbering (pseq 0)",
        {"public": ("book_resyncs:reset",)}, {}, BOOKS,
    ),
    Kind(
        "wrong_checksum", "frame", ("public",), "a book update's checksum is wrong",
        {"public": ("book_resyncs:checksum",)}, {}, BOOKS,
    ),
    Kind(
        "silent_stream", "frame", _STREAMS, "connected and acknowledged, but no data",
        {"public": ("stream_silences",), "private": _MISSED},
    ),
    Kind(
        "fill_twice", "frame", ("private",), "an execution is reported twice",
        {"private": ("private_duplicates",)}, {}, EXECUTIONS,
    ),
    Kind(
        "fills_out_of_order", "frame", ("private",),
        "an order or execution report is sent after the next one of either (`hold` at most)",
        {"private": ("private_late",)}, {"hold": 1_000},
        EXECUTIONS,
    ),
    Kind(
        "push_missing", "frame", ("private",), "orders, executions or positions are not reported",
        {"private": _MISSED}, {}, ("orders", "fill", "positions"),
    ),
    Kind(
        "candle_gap", "frame", ("public", "rest"), "candles that began in this time do not exist",
        {"public": ("candles_read_back",), "rest": ("candles_filled",)}, {}, CANDLES,
    ),
    Kind(
        "late_candle", "frame", ("public", "rest"), "candles become known `delay` late",
        {"public": ("candles_read_back",), "rest": ("candles_read_back",)}, {"delay": 10_000}, CANDLES,
    ),
    Kind(
        "duplicate_candle", "frame", ("public", "rest"), "candle rows come twice",
        {"public": ("candles_repeated",), "rest": ("candles_repeated",)}, {}, CANDLES,
    ),
    # --- connections
    Kind(
        "half_open", "connection", _STREAMS,
        "what is connected when it begins never hears or answers again, not even a ping",
        {"public": ("stream_reconnects:public",), "private": ("stream_reconnects:private",)},
    ),
    Kind(
        "connection_drop", "connection", _STREAMS, "what is connected is cut, again every `every` while it lasts",
        {"public": ("stream_reconnects:public",), "private": ("stream_reconnects:private",)}, {"every": 0},
    ),
    Kind(
        "refused_connection", "connection", _STREAMS,
        "new connections are refused: cut, or answered with HTTP `status`",
        {"public": ("stream_reconnects:public",), "private": ("stream_reconnects:private",)}, {"status": 0},
    ),
    Kind(
        "login_refused", "connection", ("private",), "the login is answered with `code` and the connection closed",
        {"private": ("stream_reconnects:private",)}, {"code": "30007"},
    ),
    # --- requests
    Kind(
        "slow_rest", "request", ("rest",), "answers take `delay` and up to `jitter` more, of wall time",
        {"rest": ("rest_seconds",)}, {"delay": 500, "jitter": 0},
    ),
    Kind(
        "rate_limit_storm", "request", ("rest",),
        "HTTP 429, nothing carried out; `body` is json, empty or both in turn",
        {"rest": ("rest_rate_limited",)}, {"body": "both"},
    ),
    Kind(
        "server_error", "request", ("rest",),
        "HTTP `status` and a word of text; with `effect` after the request was carried out",
        {"rest": _UNSURE}, {"status": 503, "effect": False},
    ),
    Kind(
        "html_page", "request", ("rest",),
        "HTTP `status` and a page of HTML; with `effect` after the request was carried out",
        {"rest": _UNSURE}, {"status": 502, "effect": False},
    ),
    Kind(
        "empty_body", "request", ("rest",),
        "HTTP `status` and nothing; with `effect` after the request was carried out",
        {"rest": _UNSURE}, {"status": 200, "effect": False},
    ),
    Kind(
        "clock_skew", "request", ("rest", "private"),
        "the exchange's clock is `skew` ahead for signatures of requests and logins and for whoever asks the time",
        {"rest": ("rest_clock_refused",), "private": ("rest_clock_refused", "stream_reconnects:private")},
        {"skew": 45_000},
    ),
    Kind(
        "answer_lost_after_accept", "request", ("rest",),
        "a command is carried out and not answered: cut, or with `hang` silent until the client gives up",
        {"rest": ("commands:unknown",)}, {"hang": False}, (), "POST",
    ),
    Kind(
        "answer_lost_before", "request", ("rest",),
        "a command is neither carried out nor answered: cut, or with `hang` silent until the client gives up",
        {"rest": ("commands:unknown",)}, {"hang": False}, (), "POST",
    ),
    Kind(
        "failure_but_stands", "request", ("rest",),
        "a command is answered with an unsure `code` (empty: one of 40725, 45001, 40010, 40015); it stands all the "
        "same, or without `effect` it does not",
        {"rest": ("commands:unknown",)}, {"code": "", "effect": True}, (), "POST",
    ),
    # --- the exchange's own state
    Kind(
        "maintenance", "exchange", ("rest",),
        "the contract is under maintenance: 40844 and symbolStatus maintain", {"rest": ("differences:contract",)},
    ),
    Kind(
        "delisting", "exchange", ("rest",),
        "the contract's `status` is limit_open (45119 for new positions) or off (40845); gone: off, and not listed",
        {"rest": ("differences:contract",)}, {"status": "limit_open"},
    ),
    Kind(
        "tick_change", "exchange", ("rest",),
        "the contract's tick is `factor` times as large; prices off it are refused with 45115",
        {"rest": ("differences:contract",)}, {"factor": 5},
    ),
    Kind(
        "leverage_changed_outside", "exchange", ("rest",),
        "somebody else sets the symbol's leverage to `leverage`", {"rest": ("differences:leverage",)}, {"leverage": 3},
    ),
    Kind(
        "position_closed_outside", "exchange", ("private",),
        "the position is closed `by` a liquidation (SYS) or by a person",
        {"private": ("differences:foreign", "signals_blocked")}, {"by": "liquidation"},
    ),
)  # fmt: skip

KINDS: Final = {kind.name: kind for kind in _ALL}
"""Every kind by name."""
