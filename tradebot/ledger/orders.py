"""What is heard about an order, as the one row that says where it stands."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from tradebot.events import (
    ClosePosition,
    CommandOutcome,
    Filled,
    OrderUpdated,
    PlaceOrder,
    PlaceStop,
    StopUpdated,
)
from tradebot.ledger.schema import orders

RANK = {"intended": 0, "unknown": 1, "rejected": 2, "live": 3, "partially_filled": 4, "canceled": 5, "filled": 6}
"""An order's status is the highest ever heard, the same for every order of arrival (as in ``trading.orders``)."""

FINAL = ("rejected", "canceled", "filled", "executed", "cancelled", "fail_execute")
"""Statuses of orders and stops that will not change any more."""

_OUTCOME_STATUS = {"accepted": "live", "rejected": "rejected", "unknown": "unknown"}
_PLACING = {"place": "order", "place_stop": "stop", "close_position": "close"}
_ON_THE_EXCHANGE = frozenset({"live", "partially_filled", "canceled", "filled"})
_ZERO = Decimal(0)

Row = dict[str, Any]
OrderRecord = PlaceOrder | PlaceStop | ClosePosition | CommandOutcome | OrderUpdated | StopUpdated | Filled


class OrderRows:
    """The orders that one batch touches: read once, changed in memory, written together."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._rows: dict[str, Row] = {}
        self.absorbed: set[str] = set()
        """Keys of rows that turned out to speak of an order with a row of its own."""

    def rows(self) -> list[Row]:
        """The touched rows, whole."""
        return list(self._rows.values())

    def apply(self, key: Row, record: OrderRecord) -> None:
        """Take a record in; ``key`` holds its epoch, seq and ts_ms."""
        match record:
            case PlaceOrder():
                self._on_place(key, record)
            case PlaceStop():
                self._on_place_stop(key, record)
            case ClosePosition():
                self._on_close(key, record)
            case CommandOutcome():
                self._on_outcome(key, record)
            case OrderUpdated():
                self._on_report(key, record)
            case Filled():
                self._on_fill(key, record)
            case StopUpdated():
                self._on_stop(key, record)

    def _on_place(self, key: Row, record: PlaceOrder) -> None:
        row = self._get(key, "order", record.symbol, record.client_oid)
        row |= {
            "decision_id": record.decision_id,
            "side": record.side,
            "order_type": record.order_type,
            "purpose": record.purpose,
            "tif": record.tif,
            "reduce_only": record.reduce_only,
            "qty": record.qty,
            "price": record.price,
            "preset_stop": record.preset_stop,
            "preset_take_profit": record.preset_take_profit,
        }

    def _on_place_stop(self, key: Row, record: PlaceStop) -> None:
        row = self._get(key, "stop", record.symbol, record.client_oid)
        row |= {
            "side": "sell" if record.position_side == "long" else "buy",
            "order_type": "market",
            "purpose": "stop",
            "reduce_only": True,
            "trigger_price": record.trigger_price,
        }

    def _on_close(self, key: Row, record: ClosePosition) -> None:
        row = self._get(key, "close", record.symbol, record.client_oid)
        row |= {"order_type": "market", "purpose": "close", "reduce_only": True, "reason": record.reason}
        row["decision_id"] = record.decision_id

    def _on_outcome(self, key: Row, record: CommandOutcome) -> None:
        kind = _PLACING.get(record.command)
        if kind is None:  # a cancel's answer says nothing about the order: its next report does
            return
        row = self._get(key, kind, record.symbol, record.client_oid)
        if record.order_id and not row["order_id"]:
            row["order_id"] = record.order_id
            self._absorb(row)
        if record.outcome == "unknown" and row["status"] in _ON_THE_EXCHANGE:
            row["reason"] = f"answer lost; {row['status']} already"
        elif record.outcome != "accepted":
            row |= {"code": record.code, "reason": record.message}
        self._raise_to(row, _OUTCOME_STATUS[record.outcome])

    def _on_report(self, key: Row, record: OrderUpdated) -> None:
        row = self._get(key, "order", record.symbol, record.client_oid, record.order_id)
        row |= {"side": record.side, "reduce_only": record.reduce_only}
        row["order_id"] = row["order_id"] or record.order_id
        lost = row["status"] == "unknown"
        row["reason"] = row["reason"] or record.reason
        row["qty"] = record.qty if row["qty"] is None else row["qty"]
        if record.avg_price is not None and record.filled_qty >= row["filled_qty"]:
            row["avg_price"] = record.avg_price
        row["filled_qty"] = max(row["filled_qty"], record.filled_qty)
        self._raise_to(row, record.status)
        if lost:
            _found(row, record.queried, record.reason)

    def _on_fill(self, key: Row, record: Filled) -> None:
        """Count one execution; the caller has dropped repeated trade ids."""
        row = self._get(key, "order", record.symbol, record.client_oid, record.order_id)
        lost = row["status"] == "unknown"
        row["side"] = row["side"] or record.side
        row["order_id"] = row["order_id"] or record.order_id
        row["executed_qty"] += record.qty
        row["filled_qty"] = max(row["filled_qty"], row["executed_qty"])
        self._raise_to(row, "partially_filled")
        if lost:
            _found(row, record.queried)

    def _on_stop(self, key: Row, record: StopUpdated) -> None:
        row = self._get(key, "stop", record.symbol, record.client_oid, record.order_id)
        row |= {
            "order_id": record.order_id or row["order_id"],
            "order_type": record.plan,
            "purpose": "stop",
            "reduce_only": True,
            "trigger_price": record.trigger_price,
        }
        if record.status == "live" and row["confirmed_ms"] is None:
            row["confirmed_ms"] = key["ts_ms"]
        lost = row["status"] == "unknown"
        if row["status"] not in FINAL:
            row["status"] = record.status
        if lost:
            _found(row, queried=False)

    def _absorb(self, row: Row) -> None:
        """Reports can come before the answer that tells the exchange's id: what they said under another name (the
        exchange names a flash close itself) is this order's."""
        same = (orders.c.order_id == row["order_id"]) & (orders.c.order_key != row["order_key"])
        other = next(
            (
                known
                for known in self._rows.values()
                if known["order_id"] == row["order_id"] and known["order_key"] != row["order_key"]
            ),
            None,
        ) or self._read(same)
        if other is None or (other["kind"] == "stop") != (row["kind"] == "stop"):
            return
        self._rows.pop(other["order_key"], None)
        self.absorbed.add(other["order_key"])
        for name in ("side", "reason", "qty", "avg_price"):
            row[name] = row[name] or other[name]
        row["executed_qty"] += other["executed_qty"]
        row["filled_qty"] = max(row["filled_qty"], other["filled_qty"])
        self._raise_to(row, other["status"])

    @staticmethod
    def _raise_to(row: Row, status: str) -> None:
        if row["qty"] is not None and row["filled_qty"] >= row["qty"]:
            status = "filled"
        if RANK[status] > RANK.get(row["status"], -1):
            row["status"] = status

    def _get(self, key: Row, kind: str, symbol: str, client_oid: str, order_id: str = "") -> Row:
        """The order's row, by our id or else the exchange's (a flash close gets an id of the exchange's choice)."""
        name = client_oid or f"#{order_id}"
        row = None
        if name not in self.absorbed:
            row = self._rows.get(name) or self._read(orders.c.order_key == name)
        if row is None and order_id:
            row = self._by_order_id(kind, order_id)
        if row is None:
            row = _new(key, name, kind, symbol, client_oid, order_id)
        self._rows[row["order_key"]] = row
        row["updated_ms"] = key["ts_ms"]
        return row

    def _by_order_id(self, kind: str, order_id: str) -> Row | None:
        kinds = ("stop",) if kind == "stop" else ("order", "close")
        for row in self._rows.values():
            if row["order_id"] == order_id and row["kind"] in kinds:
                return row
        return self._read((orders.c.order_id == order_id) & orders.c.kind.in_(kinds))

    def _read(self, where: sa.ColumnElement[bool]) -> Row | None:
        found = self._connection.execute(sa.select(orders).where(where)).mappings().first()
        if found is None:
            return None
        # a row that this batch has changed already is newer than the database's
        return self._rows.get(found["order_key"]) or dict(found)


def _found(row: Row, queried: bool, reason: str = "") -> None:
    """What went wrong with an answer is not what became of the order, once that is known."""
    if row["status"] in _ON_THE_EXCHANGE or row["kind"] == "stop":
        by = "query" if queried else "report"
        row |= {
            "code": "",
            "reason": f"answer lost; found {row['status']} by {by}" + (f": {reason}" if reason else ""),
        }


def _new(key: Row, name: str, kind: str, symbol: str, client_oid: str, order_id: str) -> Row:
    row: Row = {column.name: None if column.nullable else "" for column in orders.c}
    return row | {
        **key,
        "order_key": name,
        "updated_ms": key["ts_ms"],
        "kind": kind,
        "symbol": symbol,
        "client_oid": client_oid,
        "order_id": order_id,
        "reduce_only": False,
        "status": "intended",
        "filled_qty": _ZERO,
        "executed_qty": _ZERO,
    }
