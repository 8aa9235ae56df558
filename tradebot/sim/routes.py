"""A table of REST endpoints: (method, path) → a plain function of the exchange and the request's parameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from tradebot.sim.params import Params

if TYPE_CHECKING:
    from tradebot.sim.exchange import Exchange

Endpoint = Callable[["Exchange", Params], Any]
"""Returns the ``data`` of a successful answer; raises Refusal or OrderRefused otherwise."""


class Route(NamedTuple):
    endpoint: Endpoint
    private: bool


class Routes:
    """Endpoints register themselves with :meth:`get` and :meth:`post`; ``table`` finds them again."""

    def __init__(self, *parts: Routes) -> None:
        self.table: dict[tuple[str, str], Route] = {}
        for part in parts:
            self.table.update(part.table)

    def get(self, path: str, *, private: bool = False) -> Callable[[Endpoint], Endpoint]:
        return self._register("GET", path, private)

    def post(self, path: str) -> Callable[[Endpoint], Endpoint]:
        """Every POST of this API is private."""
        return self._register("POST", path, True)

    def _register(self, method: str, path: str, private: bool) -> Callable[[Endpoint], Endpoint]:
        def keep(endpoint: Endpoint) -> Endpoint:
            self.table[(method, path)] = Route(endpoint, private)
            return endpoint

        return keep
