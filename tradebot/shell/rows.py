"""Books on the 1 s grid."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tradebot.events import BookSampled, Event
from tradebot.market.grid import BOOK_GRID
from tradebot.market.trade import Trade
from tradebot.shell.clock import Clock

ROW_GRACE_MS = 250

Row = tuple[tuple[float, ...], tuple[float, ...], tuple[float, ...], tuple[float, ...]]
"""Bid prices, bid sizes, ask prices, ask sizes, best first."""


@dataclass(slots=True)
class _Grid:
    row: Row | None = None
    row_ms: int = 0
    sent: Row | None = None
    sent_ms: int = 0
    """Boundary of the row that was told last."""
    sound: bool = True
    since_ms: int = 0
    """Trades before this moment belong to no row."""
    buys: float = 0.0
    sells: float = 0.0
    whole: bool = True
    """Whether all trades since the last row were heard."""


class RowSealer:
    """Tells ``put`` the row of a boundary B: the last state before it.

    A row is sealed by the symbol's first message at or after B, or by the clock ``grace_ms`` after B (None: not by the
    clock; whenever it is sealed, it stands for the first boundary after its state). Age counts from the last message of
    the book, whether it changed anything or not. Boundaries without a change are not told, their row is the last one,
    older; but when messages still come, it is told again after the grid's ``repeat_ms``. While the symbol's feed is bad
    there are no rows: a gap is a gap, and what was traded in it is in no row.
    """

    def __init__(
        self, symbols: Sequence[str], clock: Clock, put: Callable[[Event], None], grace_ms: int | None
    ) -> None:
        self._clock = clock
        self._put = put
        self._grace_ms = grace_ms
        self._grids = {name: _Grid() for name in symbols}
        self._pending: dict[str, int] = {}
        """Boundary of the row to be sealed next, by symbol. Time does not run back, so the earliest comes first."""
        self.sealed = 0
        self.late = 0
        """Rows sealed by the clock because the symbol was quiet."""

    def newest(self, symbol: str) -> Row | None:
        """The newest state, None while the feed is bad."""
        return self._grids[symbol].row

    def changed(self, symbol: str, row: Row, now_ms: int) -> None:
        """The book has this state from now on."""
        grid = self._grids[symbol]
        if grid.sound:
            self.seal(symbol, now_ms)
            grid.row, grid.row_ms = row, now_ms
            self._pending.setdefault(symbol, BOOK_GRID.boundary_after(now_ms))

    def traded(self, symbol: str, trades: Sequence[Trade], now_ms: int) -> None:
        """These were made. What was made before a gap ended, and comes with the history after it, is in no row."""
        self.seal(symbol, now_ms)
        grid = self._grids[symbol]
        if grid.row is None:
            return
        for trade in trades:
            if trade.ts_ms >= grid.since_ms:
                if trade.side == "buy":
                    grid.buys += trade.qty
                else:
                    grid.sells += trade.qty
        self._pending.setdefault(symbol, BOOK_GRID.boundary_after(now_ms))

    def missed_trades(self, symbol: str, now_ms: int) -> None:
        """Trades are missing: the row of this stretch tells no volumes rather than too small ones."""
        self.seal(symbol, now_ms)
        grid = self._grids[symbol]
        grid.whole, grid.since_ms = False, now_ms

    def feed(self, symbol: str, sound: bool, now_ms: int) -> None:
        """The symbol's feed became good or bad."""
        self.seal(symbol, now_ms)
        grid = self._grids[symbol]
        if sound and not grid.sound:
            grid.since_ms = now_ms
        grid.sound = sound
        if not sound:
            grid.row = grid.sent = None
            grid.buys = grid.sells = 0.0
            grid.whole = True
            self._pending.pop(symbol, None)

    def seal(self, symbol: str, now_ms: int) -> None:
        """Tell the row of a boundary that is over, if there is one."""
        boundary = self._pending.get(symbol)
        if boundary is None or boundary > now_ms:
            return
        del self._pending[symbol]
        grid = self._grids[symbol]
        row = grid.row
        if not grid.whole:
            grid.buys = grid.sells = 0.0
            grid.whole = True
        known = row == grid.sent and boundary - grid.sent_ms < BOOK_GRID.repeat_ms
        if row is None or (known and not grid.buys and not grid.sells):
            return
        grid.sent, grid.sent_ms = row, boundary
        age_ms = boundary - grid.row_ms
        self.sealed += 1
        self._put(
            BookSampled(
                symbol=symbol,
                boundary_ms=boundary,
                age_ms=age_ms,
                bid_px=row[0],
                bid_sz=row[1],
                ask_px=row[2],
                ask_sz=row[3],
                buy_volume=grid.buys,
                sell_volume=grid.sells,
                stale=age_ms > BOOK_GRID.stale_ms,
            )
        )
        grid.buys = grid.sells = 0.0

    def next_due_ms(self) -> int | None:
        if self._grace_ms is None or not self._pending:
            return None
        return next(iter(self._pending.values())) + self._grace_ms

    def on_time(self) -> None:
        """Seal what the clock must seal."""
        if self._grace_ms is None:
            return
        now = self._clock.now_ms()
        while self._pending:
            symbol, boundary = next(iter(self._pending.items()))
            if boundary + self._grace_ms > now:
                return
            self.late += 1
            self.seal(symbol, now)
