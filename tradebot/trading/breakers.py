"""Limits that are looked at all the time, not only before an entry, and what happens when one is reached.

::

    daily loss           ──> reducing until the next UTC day
    losses in a row      ──> reducing until a person resumes; the count begins anew
    drawdown             ──> halted until a person resumes; the peak is measured anew
    near liquidation     ──> the symbol is paused and its position closed
    delisting is near    ──> the symbol is paused and its position closed

They are looked at when the mark of something held moves (at most once a second a symbol) and when the account changes.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from tradebot.events import RequestReconcile, SetTimer
from tradebot.market.instrument import ZERO, Instrument
from tradebot.trading.risk import capped, liquidation_distance
from tradebot.trading.symbol import SymbolState
from tradebot.trading.track import model_key

if TYPE_CHECKING:
    from tradebot.trading.engine import Engine

EVERY_MS = 1_000
"""How often the marks of one symbol are looked at, at most."""


class Breakers:
    """Measures losses and the way to liquidation, and restricts trading when one of them is too near."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._looked_ms: dict[str, int] = {}
        self._asked = False
        """Whether the whole view was asked for because a loss may only be a moment between two reports."""

    # --- what is measured -------------------------------------------------------------------------------------------

    def daily_loss(self) -> Decimal | None:
        """Lost since 00:00 UTC, net of transfers: a fraction of equity then. None: the account is not known."""
        equity, start = self._engine.live_equity(), self._engine.state.day_start_equity
        if equity is None:
            return None
        return ZERO if start is None else self._fraction(start - equity, start)

    def drawdown(self) -> Decimal | None:
        """How far profit is below its peak: a fraction of what equity would be at the peak. None: not known.

        The peak is that of the reports in which the balance is what executions, funding and transfers explain, so a
        transfer is never taken for profit.
        """
        engine = self._engine
        equity, peak = engine.live_equity(), engine.state.track.peak_profit
        if equity is None:
            return None
        fallen = ZERO if peak is None else peak - engine.state.profit() - engine.unrealised()
        return self._fraction(fallen, equity + max(ZERO, fallen))

    def model_loss(self, symbol: SymbolState) -> Decimal | None:
        """What the closed trades of a model version lost, as a fraction of equity: of the first one that answered at
        the last close, to which an entry is put down, else of the first that serves."""
        equity, forecast = self._engine.live_equity(), symbol.leading
        if equity is None:
            return None
        if forecast is not None:
            key = model_key(symbol.name, forecast.model, forecast.version)
        elif symbol.model is not None:
            key = model_key(symbol.name, symbol.model.name, symbol.model.version)
        else:
            return ZERO
        result = self._engine.state.track.model_result(key)
        return self._fraction(-result, equity - min(ZERO, result))

    def to_liquidation(self, name: str) -> Decimal | None:
        """How far the mark is from the liquidation price (fraction of mark) of the position in ``name``.

        The exchange's price where it reported the position at our size; else computed, for isolated margin. None:
        nothing is held, or neither is known.
        """
        engine, state = self._engine, self._engine.state
        position, symbol = state.portfolio.position(name), engine.symbols.get(name)
        if not position.qty or symbol is None:
            return None
        mark = engine.mark(name, position.entry_price)
        reported = state.reported.get(name)
        side = 1 if position.qty > 0 else -1
        if reported is not None and reported.qty == position.qty and reported.liquidation_price is not None:
            price = reported.liquidation_price
        elif engine.config.margin_mode == "isolated" and symbol.instrument is not None:
            leverage = symbol.account.leverage if symbol.account is not None else engine.config.leverage
            away = liquidation_distance(leverage, symbol.instrument.maintenance_rate)
            price = position.entry_price * (1 - side * away)
        else:
            return None
        return side * (mark - price) / mark

    def _fraction(self, loss: Decimal, equity: Decimal) -> Decimal:
        base = capped(equity, self._engine.config.risk.capital)
        return max(ZERO, loss) / base if base else Decimal(int(loss > 0))

    # --- when it is looked at ---------------------------------------------------------------------------------------

    def on_mark(self, name: str) -> None:
        """The mark price of ``name`` was told."""
        engine = self._engine
        if not engine.state.portfolio.position(name).qty:
            return
        if engine.now_ms - self._looked_ms.get(name, -EVERY_MS) < EVERY_MS:
            return
        self._looked_ms[name] = engine.now_ms
        self._look_at_liquidation(name)
        self.on_money()

    def on_money(self) -> None:
        """Equity may have changed: by a mark, an execution, or what the account told."""
        engine, state, limits = self._engine, self._engine.state, self._engine.config.risk
        day, fall = self.daily_loss(), self.drawdown()
        if day is None or fall is None or state.tradability == "halted":
            return
        permission = state.permission
        if (
            permission.cause == "daily_loss"
            and permission.since_ms < state.day_start_ms
            and day < limits.max_daily_loss
        ):
            engine.lift("daily_loss", "a new day")
        if fall >= limits.max_drawdown:
            why = f"profit is {fall:.2%} of equity below its peak (risk.max_drawdown {limits.max_drawdown})"
            engine.restrict("halted", why, cause="drawdown", close=self._worst())
        elif state.tradability == "active" and self._too_many_losses():
            why = f"{state.track.losses} losing trades in a row (risk.max_losses_in_a_row)"
            engine.restrict("reducing", why, cause="losses_in_a_row")
        elif state.tradability == "active" and day >= limits.max_daily_loss and self._certain():
            limit = limits.max_daily_loss
            why = f"{day:.2%} of equity lost today (risk.max_daily_loss {limit}): no entries until 00:00 UTC"
            engine.restrict("reducing", why, cause="daily_loss", close=self._worst())

    def on_contract(self, instrument: Instrument) -> None:
        """Terms of a contract were told: what is held in one that ends is closed before."""
        if instrument.off_time_ms is not None:
            due_ms = max(self._engine.now_ms, instrument.off_time_ms - self._engine.config.risk.delisting_close_ms)
            self._engine.emit(SetTimer(name=f"delisting:{instrument.symbol}", due_ms=due_ms))

    def on_delisting(self, name: str) -> None:
        """The time to be out of ``name`` has come, if it still ends."""
        symbol, engine = self._engine.symbols.get(name), self._engine
        ends_ms = symbol.instrument.off_time_ms if symbol is not None and symbol.instrument is not None else None
        if ends_ms is None or engine.now_ms < ends_ms - engine.config.risk.delisting_close_ms:
            return
        if engine.state.portfolio.position(name).qty:
            why = f"{name} is delisted in {(ends_ms - engine.now_ms) / 3_600_000:.1f} h: its position is being closed"
            engine.restrict("reducing", why, symbol=name, cause="delisting", close=(name,))

    # --- what is concluded ------------------------------------------------------------------------------------------

    def _look_at_liquidation(self, name: str) -> None:
        engine, least = self._engine, self._engine.config.risk.min_liquidation_distance
        distance = self.to_liquidation(name)
        if distance is None or distance >= least:
            return
        if name in engine.state.closing or engine.discrepancies.nothing_there(name):
            return
        why = f"{name} is {distance:.2%} from liquidation (risk.min_liquidation_distance {least}): it is being closed"
        engine.restrict("reducing", why, symbol=name, cause="liquidation_distance", close=(name,))

    def _too_many_losses(self) -> bool:
        most = self._engine.config.risk.max_losses_in_a_row
        return most is not None and self._engine.state.track.losses >= most

    def _certain(self) -> bool:
        """Whether a loss is one: between an execution, or a transfer, and its booking equity is not what it seems."""
        if self._engine.state.books_agree():
            self._asked = False
            return True
        if not self._asked:
            self._asked = True
            self._engine.emit(RequestReconcile(reason="a loss that executions and transfers do not explain yet"))
        return False

    def _worst(self) -> tuple[str, ...]:
        """The position that loses most, if it is to be closed along with a loss limit."""
        if not self._engine.config.risk.close_worst:
            return ()
        losing = [
            (profit, p.symbol)
            for p in self._engine.state.portfolio.open_positions()
            if (profit := p.unrealised(self._engine.mark(p.symbol, p.entry_price))) < 0
        ]
        return (min(losing)[1],) if losing else ()
