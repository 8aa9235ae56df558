"""What the desks of a venue have in common: one engine and those who judge what reaches it."""

from __future__ import annotations

from collections.abc import Mapping

from tradebot.market.instrument import Instrument
from tradebot.matching.account import Account
from tradebot.matching.admission import Admission
from tradebot.matching.archive import Archive
from tradebot.matching.engine import MatchingEngine
from tradebot.matching.liquidation import Liquidator
from tradebot.matching.margin import Tier
from tradebot.matching.protection import PlanAdmission
from tradebot.matching.triggers import Triggers


class Desk:
    """A part of :class:`tradebot.matching.venue.Venue`: the requests of one kind."""

    instruments: dict[str, Instrument]
    tiers: Mapping[str, tuple[Tier, ...]]
    account: Account
    _engine: MatchingEngine
    _archive: Archive
    _admission: Admission
    _plan_admission: PlanAdmission
    _triggers: Triggers
    _liquidator: Liquidator
