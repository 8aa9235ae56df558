"""What a killed daemon was doing, and whether everything is there after the next one."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Literal

from tests.crash.world import World
from tests.e2e.conftest import STRATEGIES
from tests.faults.accounts import compare
from tradebot.daemon.replay import replay
from tradebot.events import (
    Alert,
    Booted,
    CommandOutcome,
    Difference,
    Filled,
    PlaceOrder,
    PlaceStop,
    Reconciled,
    Record,
    Restored,
)
from tradebot.journal import JournalReader, journal_directory
from tradebot.journal.pick import pick
from tradebot.trading.state import FOLDED, TradingState, recover

if TYPE_CHECKING:
    from tests.crash.campaign import Campaign

Phase = Literal["before its journal", "starting", "order under way", "stop under way", "order working", "held", "flat"]
PHASES: tuple[Phase, ...] = (
    "before its journal", "starting", "order under way", "stop under way", "order working", "held", "flat",
)  # fmt: skip
NEVER = frozenset({"position", "foreign", "balance"})
"""Differences that a crash is no reason for: whatever was executed meanwhile is asked for and booked."""


class Autopsy:
    """Reads what lies in the state directory of ``world``; every epoch is read and recomputed once."""

    def __init__(self, running: World) -> None:
        self._world = running
        self._reader = JournalReader(journal_directory(running.state))
        self._examined = self._died = 0
        self._named: Counter[str] = Counter()
        self._executed: set[str] = set()

    def cause(self, campaign: Campaign) -> None:
        """Note what the daemon that was just killed was in the middle of."""
        epochs = self._reader.epochs() if self._reader.directory.exists() else ()
        newest = epochs[-1] if epochs else 0
        if newest <= self._died:
            campaign.phases["before its journal"] += 1
            return
        self._died = newest
        campaign.phases[_phase(list(pick(self._reader, newest, FOLDED)))] += 1

    def examine(self, campaign: Campaign, *, halted: bool) -> None:
        """After a life that was left alone and left in order: exchange, engine and ledger have the same, nothing came
        twice, the halt is where it was, and every epoch since the last look is recomputed without a difference."""
        epochs = self._reader.epochs()
        where = f"kill {campaign.kills}, epoch {epochs[-1]}"
        new = [epoch for epoch in epochs if epoch > self._examined]
        for epoch in new:
            campaign.problems += [f"kill {campaign.kills}, epoch {epoch}: {p}" for p in self._read(epoch, campaign)]
        self._examined = self._died = epochs[-1]
        newest = list(pick(self._reader, epochs[-1], FOLDED))
        state = recover(newest, cooldown_ms=0)
        campaign.problems += [f"{where}: {p}" for p in self._accounts(state, campaign)]
        if halted != (state.tradability == "halted"):
            campaign.problems.append(f"{where}: is {state.tradability}, should {'' if halted else 'not '}be halted")
        entries = [r for _, r in newest if isinstance(r, PlaceOrder) and r.purpose == "entry"]
        if halted and entries:
            campaign.problems.append(f"{where}: {len(entries)} entries while halted")
        listed = {execution.trade_id for execution in self._world.exchange.venue.executions()}
        if self._executed != listed:
            differing = ", ".join(sorted(self._executed ^ listed))
            campaign.problems.append(f"{where}: executions that exchange or journal has alone: {differing}")

    def _accounts(self, state: TradingState, campaign: Campaign) -> list[str]:
        """What differs between the three now; how much was traded, lost and duplicated in all lives so far."""
        found = compare(state, self._world.settings.ledger_url, self._world.exchange.venue)
        again = [oid for oid, count in self._named.items() if count > 1]
        campaign.orders, campaign.fills, campaign.lost = found.orders, found.fills, found.lost
        campaign.duplicated = found.duplicated + len(again)
        return found.problems + [f"{oid} was given twice" for oid in again]

    def _read(self, epoch: int, campaign: Campaign) -> list[str]:
        """What is wrong with an epoch by itself; its orders and executions are remembered."""
        problems: list[str] = []
        booted = False
        for _, record in pick(self._reader, epoch, FOLDED):
            match record:
                case PlaceOrder() | PlaceStop():
                    self._named[record.client_oid] += 1
                case Filled():
                    self._executed.add(record.trade_id)
                case Alert() if record.severity == "critical":
                    problems.append(f"alert {record.code}: {record.message}")
                case Difference() if record.kind in NEVER:
                    problems.append(f"{record.symbol} {record.kind}: ours {record.ours}, theirs {record.theirs}")
                case Booted():
                    booted = True
                case _:
                    pass
        if booted:
            report = replay(self._world.state, STRATEGIES, epoch=epoch)
            campaign.decisions += report.decisions
            campaign.mismatches += report.mismatches
            if report.mismatches:
                problems.append(f"replay: {report.first_mismatch}")
        return problems


def _phase(records: list[tuple[int, Record]]) -> Phase:
    """By what had been written down when it died."""
    if not any(isinstance(record, Reconciled) for _, record in records):
        return "starting" if any(isinstance(record, Restored) for _, record in records) else "before its journal"
    state = recover(records, cooldown_ms=0)
    answered = {record.client_oid for _, record in records if isinstance(record, CommandOutcome)}
    if any(order.client_oid not in answered and order.status == "intended" for order in state.orders):
        return "order under way"
    if any(isinstance(r, PlaceStop) and r.client_oid not in answered for _, r in records):
        return "stop under way"
    if state.orders.open():
        return "order working"
    return "held" if state.portfolio.open_positions() else "flat"
