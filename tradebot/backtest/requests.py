"""Requests to the embedded exchange without a socket: the same endpoints, envelopes and refusals."""

from __future__ import annotations

from collections.abc import Mapping

from tradebot.exchange.bitget.answers import Refused
from tradebot.exchange.bitget.http import HttpClient
from tradebot.exchange.bitget.signing import Credentials
from tradebot.matching.orders import OrderRefused
from tradebot.sim.exchange import Exchange
from tradebot.sim.front import ROUTES
from tradebot.sim.params import Params
from tradebot.sim.wire import Refusal, encode

URL = "http://127.0.0.1"
"""Where nobody listens: it names the exchange of this process."""


class DirectHttp(HttpClient):
    """Answers by calling the exchange's endpoints; what a refusal means is decided where it always is."""

    def __init__(self, exchange: Exchange) -> None:
        key = exchange.credentials
        super().__init__(URL, credentials=Credentials(key.key, key.secret, key.passphrase), limited=False)
        self._exchange = exchange

    async def _answered(self, method: str, path: str, parameters: Mapping[str, object], private: bool) -> bytes | None:
        route = ROUTES.table[method, path]
        try:
            return encode(route.endpoint(self._exchange, Params(parameters)))
        except Refusal as refusal:
            raise Refused(refusal.code, refusal.message) from None
        except OrderRefused as refused:
            raise Refused(refused.code, str(refused)) from None
