"""What can go wrong at an exchange, on purpose: a schedule of faults, seeded, in exchange time."""

from tradebot.sim.faults.injection import Faults
from tradebot.sim.faults.kinds import KINDS, Kind
from tradebot.sim.faults.rules import Rule, Schedule, load_schedule

__all__ = ["KINDS", "Faults", "Kind", "Rule", "Schedule", "load_schedule"]
