"""Requests recorded from an unmodified ccxt client, sent again byte for byte (protocol sections 3 and 12.1)."""

from __future__ import annotations

import json
from typing import Any

from yarl import URL

from tests.shared import shared_path
from tests.sim.clients import Bench, bench
from tests.sim.walk import WalkSource
from tradebot.sim.auth import Credentials

MEANT = {
    "req_26_create_order": ("22002",),
    "req_31_create_order": ("43023",),
    "req_33_create_order": ("43023",),
    "req_41_create_order": ("40774",),
    "req_42_create_order": ("40774",),
    "req_44_edit_order": ("40768",),
    "req_45_cancel_order": ("40768",),
    "req_46_cancel_order": ("40768",),
}
"""What a fresh one-way account answers where a call needs a position, an order or hedge mode; the others succeed."""


def _requests() -> dict[str, Any]:
    path = shared_path("data/bitget_fixtures/ccxt_golden_requests.json")
    read: dict[str, Any] = json.loads(path.read_text())
    return read


async def _code(b: Bench, http: dict[str, Any], *, change: str = "") -> str:
    """The answer's code. ``change`` is added to what the signature covers."""
    query = f"?{http['query']}{change}" if http["query"] else ""
    body = json.dumps(http["body"], separators=(",", ":")) + change if http["body"] is not None else None
    target = URL(b.server.rest_url + http["path"] + query, encoded=True)
    async with b.session.request(http["method"], target, data=body, headers=http["headers"]) as response:
        return str((await response.json())["code"])


async def test_every_recorded_request_passes_authentication_and_parameter_checks() -> None:
    requests = _requests()
    assert len(requests) >= 35
    for name, request in requests.items():
        keys = Credentials(**(request["credentials"] or {"key": "key", "secret": "secret", "passphrase": "pass"}))
        async with bench([WalkSource(start_ms=request["clock_ms"])], credentials=keys) as b:
            assert await _code(b, request["http"]) in MEANT.get(name, ("00000",)), name
            if request["credentials"]:
                assert await _code(b, request["http"], change="%20") == "40009", name
