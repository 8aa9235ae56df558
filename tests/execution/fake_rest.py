"""The account side of the exchange, scripted: what each call answers, and what was called."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from decimal import Decimal as D
from typing import Any

from tradebot.events import (
    AccountUpdated,
    AccountVerified,
    Filled,
    FundingPaid,
    OrderUpdated,
    PositionState,
    StopUpdated,
)
from tradebot.exchange.bitget.rows import OrderDetail

T = 1_760_000_000_000
SYMBOL = "SOLUSDT"


def update(client_oid: str = "tb0-1-2-e", **more: Any) -> OrderUpdated:
    fields: dict[str, Any] = {"order_id": "77", "symbol": SYMBOL, "side": "buy", "status": "live", "qty": D(1)}
    return OrderUpdated(client_oid=client_oid, **{**fields, "filled_qty": D(0), **more})


def detail(client_oid: str = "tb0-1-2-e", *, price: str = "", created_ms: int = T, **more: Any) -> OrderDetail:
    return OrderDetail(
        update=update(client_oid, **more),
        order_type="limit" if price else "market",
        price=D(price) if price else None,
        created_ms=created_ms,
    )


def fill(trade_id: str, order_id: str, client_oid: str = "") -> Filled:
    return Filled(
        trade_id=trade_id,
        order_id=order_id,
        client_oid=client_oid,
        symbol=SYMBOL,
        side="buy",
        price=D(100),
        qty=D(1),
        fee=D("-0.06"),
        realised=D(0),
        maker=False,
        ts_exchange_ms=T,
    )


def stop(client_oid: str, order_id: str = "9", symbol: str = SYMBOL) -> StopUpdated:
    return StopUpdated(
        order_id=order_id, client_oid=client_oid, symbol=symbol, plan="pos_loss", trigger_price=D(98), status="live"
    )


class FakeRest:
    """``answers[call]`` are given one after the other, the last one again and again; an exception is raised.

    ``hangs`` names calls that wait until ``release`` is set.
    """

    def __init__(self, **answers: Any) -> None:
        self.answers: dict[str, deque[Any]] = {
            name: deque(answer if isinstance(answer, tuple) else (answer,)) for name, answer in answers.items()
        }
        self.calls: list[tuple[str, Any]] = []
        self.hangs: set[str] = set()
        self.release = asyncio.Event()

    def named(self, *names: str) -> list[Any]:
        return [argument for name, argument in self.calls if name in names]

    async def _answer(self, name: str, argument: Any, default: Any) -> Any:
        self.calls.append((name, argument))
        if name in self.hangs:
            await self.release.wait()
        script = self.answers.get(name)
        if not script:
            return default
        answer = script.popleft() if len(script) > 1 else script[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def place_order(self, order: Any, margin_mode: str) -> Any:
        return await self._answer("place_order", order, "77")

    async def cancel_order(self, order: Any) -> Any:
        return await self._answer("cancel_order", order, "77")

    async def place_stop(self, order: Any) -> Any:
        return await self._answer("place_stop", order, "9")

    async def cancel_stop(self, order: Any) -> Any:
        return await self._answer("cancel_stop", order, "9")

    async def close_position(self, order: Any) -> Any:
        return await self._answer("close_position", order, "88")

    async def order_detail(self, symbol: str, *, client_oid: str = "", order_id: str = "", urgent: bool = False) -> Any:
        return await self._answer("order_detail", (client_oid, order_id), None)

    async def plan_orders(self, symbol: str = "", *, urgent: bool = False) -> Sequence[StopUpdated]:
        return await self._answer("plan_orders", symbol, [])  # type: ignore[no-any-return]

    async def open_orders(self, symbol: str = "") -> Sequence[OrderUpdated]:
        return await self._answer("open_orders", symbol, [])  # type: ignore[no-any-return]

    async def positions(self) -> Sequence[PositionState]:
        return await self._answer("positions", None, [])  # type: ignore[no-any-return]

    async def fills(
        self, symbol: str = "", since_ms: int | None = None, until_ms: int | None = None
    ) -> Sequence[Filled]:
        return await self._answer("fills", symbol, [])  # type: ignore[no-any-return]

    async def bills(self, since_ms: int, until_ms: int | None = None) -> Sequence[FundingPaid]:
        return await self._answer("bills", since_ms, [])  # type: ignore[no-any-return]

    async def require_classic_account(self) -> None:
        await self._answer("require_classic_account", None, None)

    async def account(self, symbol: str) -> tuple[AccountVerified, AccountUpdated]:
        verified = AccountVerified(symbol=symbol, position_mode="hedge_mode", margin_mode="crossed", leverage=20)
        money = AccountUpdated(equity=D(1000), available=D(900), balance=D(1000))
        return await self._answer("account", symbol, (verified, money))  # type: ignore[no-any-return]

    async def set_position_mode(self, mode: str) -> None:
        await self._answer("set_position_mode", mode, None)

    async def set_margin_mode(self, symbol: str, mode: str) -> None:
        await self._answer("set_margin_mode", (symbol, mode), None)

    async def set_leverage(self, symbol: str, leverage: int) -> None:
        await self._answer("set_leverage", (symbol, leverage), None)
