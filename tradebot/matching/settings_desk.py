"""Leverage, margin and position modes, isolated margin, transfers (protocol section 7)."""

from __future__ import annotations

from decimal import Decimal

from msgspec.structs import replace

from tradebot.market.instrument import ZERO, Side
from tradebot.matching.arithmetic import exactly
from tradebot.matching.desk import Desk
from tradebot.matching.margin import largest_value
from tradebot.matching.orders import MarginMode, OrderRefused, PositionMode, PosSide
from tradebot.matching.position import Position
from tradebot.matching.settings import SymbolSettings


class SettingsDesk(Desk):
    """Requests that change how the account trades."""

    @property
    def position_mode(self) -> PositionMode:
        """One-way or hedge, for all symbols."""
        return self.account.position_mode

    @exactly
    def set_leverage(
        self, symbol: str, leverage: int, ts_ms: int, *, side: Side | None = None, short_leverage: int | None = None
    ) -> SymbolSettings:
        """Leverage of a symbol in the margin mode in force (section 7.2); returns the settings afterwards.

        With isolated margin in hedge mode it is that of one ``side``, or of longs and, as ``short_leverage``, of
        shorts. Raises OrderRefused 40797 (above the maximum), 40808 (isolated hedge without a side), 40814 (no
        change), 40730 (open orders) or 40893 (a position that cannot bear it).
        """
        instrument = self._admission.instrument(symbol)
        settings = self.account.settings[symbol]
        new = self._wanted(settings, leverage, side, short_leverage)
        for wanted in (new.crossed_leverage, new.long_leverage, new.short_leverage):
            if not 1 <= wanted <= instrument.max_leverage:
                raise OrderRefused("40797", f"leverage must be from 1 to {instrument.max_leverage}")
        if new == settings:
            raise OrderRefused("40814", "No change in leverage")
        if self._archive.open_in(symbol):
            raise OrderRefused("40730", f"there are open orders of {symbol}, the leverage cannot be changed")
        changed = [replace(p, leverage=new.leverage(p.side), updated_ms=ts_ms) for p in self.account.of(symbol)]
        self._check_bearable(changed)
        for position in changed:
            self.account.positions[position.slot] = position
            self._engine.touch()
        self.account.settings[symbol] = new
        self._engine.settle(ts_ms)
        return new

    def set_margin_mode(self, symbol: str, mode: MarginMode) -> None:
        """Margin mode of a symbol. Raises OrderRefused 45117 with a position or an order, as the exchange does."""
        self._admission.instrument(symbol)
        if self.account.of(symbol) or self._archive.open_in(symbol):
            raise OrderRefused("45117", "positions or orders exist, the margin mode cannot be adjusted")
        self.account.settings[symbol].margin_mode = mode

    def set_position_mode(self, mode: PositionMode) -> None:
        """Position mode of the account. Raises OrderRefused 40920 with any position, order or trigger order."""
        if self.account.positions or self._archive.open or self._archive.live_plans:
            raise OrderRefused("40920", "position or order exists, the position mode cannot be switched")
        self.account.position_mode = mode

    @exactly
    def set_margin(self, symbol: str, amount: Decimal, ts_ms: int, pos_side: PosSide = "net") -> Position:
        """Add margin to an isolated position, or with a negative ``amount`` take some of it back (section 7.6).

        Only what was added can be taken back, and only while it does not cover a loss. Raises OrderRefused 22002
        (flat), 40808 (crossed position), 40020 (no amount), 43012 (not enough free) or 40800 (the position needs it).
        """
        self._admission.instrument(symbol)
        held = self.account.held(symbol, pos_side)
        if held is None:
            raise OrderRefused("22002", "No position to change the margin of")
        if held.margin_mode == "crossed":
            raise OrderRefused("40808", "Parameter verification failed: the position has crossed margin")
        if not amount:
            raise OrderRefused("40020", "Parameter amount error")
        if amount > max(ZERO, self._admission.free()):
            raise OrderRefused("43012", "Insufficient balance")
        changed = replace(held, extra_margin=held.extra_margin + amount, updated_ms=ts_ms)
        if amount < 0:
            loss = min(ZERO, held.unrealised(self.account.mark(symbol)))
            if changed.extra_margin + loss < 0:
                raise OrderRefused("40800", "Insufficient margin: the position needs it")
        self.account.positions[held.slot] = changed
        self._engine.touch()
        self._engine.settle(ts_ms)
        return changed

    @exactly
    def transfer(self, amount: Decimal, ts_ms: int) -> None:
        """Move cash in (positive) or out."""
        self.account.cash += amount
        business = "trans_from_exchange" if amount > 0 else "trans_to_exchange"
        self._engine.bill("", amount, ZERO, business, ts_ms)
        self._engine.settle(ts_ms)

    def _wanted(
        self, settings: SymbolSettings, leverage: int, side: Side | None, short_leverage: int | None
    ) -> SymbolSettings:
        mode, crossed = settings.margin_mode, settings.crossed_leverage
        longs, shorts = settings.long_leverage, settings.short_leverage
        if mode == "crossed":
            return SymbolSettings(mode, leverage, longs, shorts)
        if short_leverage is not None:
            return SymbolSettings(mode, crossed, leverage, short_leverage)
        if self.position_mode == "one_way_mode":
            return SymbolSettings(mode, crossed, leverage, leverage)
        if side is None:
            raise OrderRefused("40808", "Parameter verification failed: double fixed, hold side is null")
        if side == "buy":
            return SymbolSettings(mode, crossed, leverage, shorts)
        return SymbolSettings(mode, crossed, longs, leverage)

    def _check_bearable(self, changed: list[Position]) -> None:
        """Refuse a leverage that positions have not the margin for, or that their size does not allow."""
        more = sum((p.margin - self.account.positions[p.slot].margin for p in changed), ZERO)
        largest = all(
            p.value(self.account.mark(p.symbol)) <= largest_value(self.tiers[p.symbol], p.leverage) for p in changed
        )
        if changed and (more > max(ZERO, self._admission.free()) or not largest):
            raise OrderRefused("40893", "Not enough margin for this leverage")
