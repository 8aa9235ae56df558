"""How often a client may ask: the numbers of protocol sections 4 (REST) and 10.1 (WebSocket)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

_MIX: Final = "/api/v2/mix/"

_BY_RATE: Final[dict[int, tuple[str, ...]]] = {
    20: (
        "/api/v2/public/time",
        *(
            f"{_MIX}market/{name}"
            for name in (
                "contracts",
                "ticker",
                "tickers",
                "merge-depth",
                "candles",
                "history-candles",
                "history-mark-candles",
                "history-index-candles",
                "fills",
                "current-fund-rate",
                "history-fund-rate",
                "funding-time",
                "open-interest",
                "symbol-price",
            )
        ),
        f"{_MIX}position/history-position",
        f"{_MIX}account/max-open",
    ),
    5: (
        f"{_MIX}position/all-position",
        f"{_MIX}order/batch-place-order",
        f"{_MIX}account/set-leverage",
        f"{_MIX}account/set-margin-mode",
        f"{_MIX}account/set-position-mode",
        f"{_MIX}account/set-margin",
    ),
    2: (f"{_MIX}account/set-asset-mode",),
    1: (f"{_MIX}order/close-positions",),
}

PER_SECOND: Final[Mapping[str, int]] = {path: rate for rate, paths in _BY_RATE.items() for path in paths}
"""Requests a second by path. Endpoints that are not listed have :attr:`WireLimits.other_per_second`."""


@dataclass(frozen=True, slots=True)
class WireLimits:
    """What a client may do on the wire. Seconds are the wall's (monotonic): limits guard the server, not the market.

    REST: ``per_second`` by path, ``other_per_second`` for the rest, counted per address (public) or account (private)
    over any second; ``per_minute`` per address over everything, with ``recovery_s`` of refusals once tripped.

    WebSocket: ``connect_attempts`` per address in ``connect_window_s``, ``connections`` open per address; on each
    connection ``messages_per_second``, ``message_bytes``, ``subscribes_per_hour`` subscribe requests, ``channels``,
    a text ``ping`` at least every ``ping_timeout_s``, an end after ``session_s``. An address whose connections were
    closed for too many messages ``floods`` times within ``connect_window_s`` may not connect for ``ban_s``.
    """

    per_second: Mapping[str, int] = field(default_factory=lambda: PER_SECOND)
    other_per_second: int = 10
    per_minute: int = 6_000
    recovery_s: float = 300.0
    connect_attempts: int = 300
    connect_window_s: float = 300.0
    connections: int = 100
    messages_per_second: int = 10
    message_bytes: int = 4_096
    subscribes_per_hour: int = 240
    channels: int = 1_000
    ping_timeout_s: float = 120.0
    session_s: float = 86_400.0
    floods: int = 5
    ban_s: float = 300.0
