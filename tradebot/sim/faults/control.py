"""``/sim/faults``: what is going wrong, and more of it or less.

``GET`` answers :meth:`Faults.report`. ``POST {"rules": [ … ]}`` adds rules, as a schedule has them, with ``from``
counted from now; ``{"clear": true}`` or ``{"clear": [1, 2]}`` ends all, or those. Both answer the report.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec
from aiohttp import web

from tradebot.errors import ConfigError
from tradebot.sim.faults.injection import Faults
from tradebot.sim.faults.rules import read_rules
from tradebot.sim.wire import decode, encode


def fault_control(faults: Faults) -> Callable[[web.Request], Awaitable[web.Response]]:
    """The endpoint for one exchange. A mistake is answered with HTTP 400 and ``{"error": "one line"}``."""

    async def control(request: web.Request) -> web.Response:
        if request.method == "POST":
            try:
                change(faults, await request.read())
            except ConfigError as error:
                return web.Response(status=400, body=encode({"error": str(error)}), content_type="application/json")
        return web.Response(body=encode(faults.report()), content_type="application/json")

    return control


def change(faults: Faults, body: bytes) -> None:
    """Carry out a POST. Raises ConfigError; then nothing was changed."""
    try:
        said = decode(body)
    except msgspec.DecodeError:
        raise ConfigError('faults: expected JSON like {"rules": [{"kind": "drop"}]} or {"clear": true}') from None
    if not isinstance(said, dict) or not said.keys() <= {"rules", "clear"} or not said:
        raise ConfigError('faults: expected {"rules": [ … ]} or {"clear": true} or {"clear": [ids]}')
    rules = read_rules(said.get("rules", []))
    clear = said.get("clear", False)
    if not isinstance(clear, bool) and not (isinstance(clear, list) and all(isinstance(n, int) for n in clear)):
        raise ConfigError("faults: clear: expected true or a list of ids")
    faults.require_traded(rules)
    if clear:
        faults.clear(None if clear is True else clear)
    faults.add(rules)
