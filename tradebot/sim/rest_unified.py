"""What the V3 (unified account) interface answers: enough for a client to learn which kind of account it has.

Section 15 of the protocol: V3 is refused with 40084 on a classic account, the classic endpoints with 40085 on a
unified one (that part is in :mod:`tradebot.sim.front`). Trading through V3 is not simulated.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tradebot.sim.params import Params
from tradebot.sim.routes import Routes
from tradebot.sim.wire import MARGIN_COIN, PRODUCT_TYPE, Refusal

if TYPE_CHECKING:
    from tradebot.sim.exchange import Exchange

routes = Routes()


@routes.get("/api/v3/account/settings", private=True)
def account_settings(exchange: Exchange, params: Params) -> Any:
    """The probe that tells a unified account from a classic one."""
    if not exchange.unified:
        raise Refusal(
            "40084",
            "You are in Classic Account mode, and the Unified Account API is not supported at this time",
        )
    return {
        "accountMode": "unified",
        "assetMode": "single",
        "holdMode": "one_way_mode",
        "stpMode": "none",
        "symbolConfigList": [
            {"category": PRODUCT_TYPE, "symbol": symbol, "marginMode": "isolated", "leverage": "10"}
            for symbol in exchange.markets
        ],
        "coinConfigList": [{"coin": MARGIN_COIN, "leverage": "1"}],
    }
