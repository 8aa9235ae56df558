"""Lives that end by SIGKILL at seeded random moments, each looked at after the next start."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Literal

from tests.crash.autopsy import Autopsy, Phase
from tests.crash.world import Life, World, world
from tests.eventually import eventually
from tradebot.errors import TradebotError

Moment = Literal["starting", "command", "order", "anywhere"]
MOMENTS: dict[Moment, int] = {"starting": 2, "command": 4, "order": 2, "anywhere": 2}
"""When a life ends, and how often of ten: while it starts, the instant a command has reached the exchange, a little
later, or at any moment."""
AWAY_MS = (100, 1_000, 60_000, 1_200_000)
"""How long the market goes on before the next start. A request that is under way acts within 80 ms."""
HALT_EVERY = 6
TWICE_EVERY = 5
STARTING_S = 1.0
"""How long a start takes at first guess."""


@dataclass(slots=True)
class Campaign:
    """What a campaign came to. ``problems`` empty: nothing was lost, duplicated or forgotten."""

    kills: int = 0
    phases: Counter[Phase] = field(default_factory=Counter)
    halts: int = 0
    orders: int = 0
    fills: int = 0
    lost: int = 0
    duplicated: int = 0
    decisions: int = 0
    mismatches: int = 0
    recovery_s: list[float] = field(default_factory=list)
    seconds: float = 0.0
    problems: list[str] = field(default_factory=list)

    def add(self, other: Campaign) -> None:
        """Take in what another process found."""
        for name in ("kills", "halts", "orders", "fills", "lost", "duplicated", "decisions", "mismatches"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.phases += other.phases
        self.recovery_s += other.recovery_s
        self.problems += other.problems
        self.seconds = max(self.seconds, other.seconds)


def run_campaign(
    kills: int,
    seed: int,
    folder: Path,
    progress: Callable[[int], None] = lambda more: None,
    meanwhile: Callable[[World], None] = lambda running: None,
) -> Campaign:
    """``kills`` lives on one market, in ``folder``. ``progress`` is told how many more are over; ``meanwhile`` happens
    while nobody lives."""
    folder.mkdir(parents=True)
    return asyncio.run(_run(kills, seed, folder, progress, meanwhile))


async def _run(
    kills: int, seed: int, folder: Path, progress: Callable[[int], None], meanwhile: Callable[[World], None]
) -> Campaign:
    campaign, rng, began = Campaign(), random.Random(seed), perf_counter()
    async with world(folder, seed) as running:
        running.meanwhile = meanwhile
        autopsy = Autopsy(running)
        while campaign.kills < kills:
            before = campaign.kills
            try:
                await _round(running, autopsy, campaign, rng, kills)
            except (AssertionError, TimeoutError, TradebotError) as error:
                # what hangs or ends by itself leaves nothing to go on with
                campaign.problems.append(f"seed {seed}, kill {campaign.kills}: {error or 'hangs'}")
                break
            progress(campaign.kills - before)
    campaign.seconds = perf_counter() - began
    return campaign


async def _round(running: World, autopsy: Autopsy, campaign: Campaign, rng: random.Random, most: int) -> None:
    """One kill, sometimes a second one while what it left is being recovered, and a life that is left alone."""
    halted = rng.randrange(HALT_EVERY) == 0
    await _short_life(running, campaign, rng, "anywhere" if halted else _moment(rng), halted=halted)
    autopsy.cause(campaign)
    if campaign.kills < most and rng.randrange(TWICE_EVERY) == 0:
        await _short_life(running, campaign, rng, "starting")
        autopsy.cause(campaign)
    life = running.start()
    await running.up(life)
    campaign.recovery_s.append(life.recovery_s or 0.0)
    if halted:
        campaign.halts += 1
    await running.leave(life)
    autopsy.examine(campaign, halted=halted)
    if halted:
        life = running.start()
        await running.up(life)
        await running.operate("resume")
        await running.leave(life)
        autopsy.examine(campaign, halted=False)


async def _short_life(
    running: World, campaign: Campaign, rng: random.Random, moment: Moment, *, halted: bool = False
) -> None:
    known = campaign.recovery_s[-20:]
    starting_s = sum(known) / len(known) if known else STARTING_S
    left = rng.randint(1, 6)
    pause_s = rng.uniform(0.0, 0.05)
    if moment == "starting":
        life = running.start()
        await asyncio.sleep(rng.uniform(0.0, starting_s))
    elif moment == "anywhere":
        life = running.start()
        await running.up(life)
        await asyncio.sleep(rng.uniform(0.0, 0.5))
        if halted:
            await running.operate("halt")
            await asyncio.sleep(pause_s / 10)
    else:
        life = await _until_commands(running, left, at_once=moment == "command")
        if moment == "order":
            await asyncio.sleep(pause_s)
    await running.kill(life)
    campaign.kills += 1
    running.meanwhile(running)
    await running.pass_time(rng.choice(AWAY_MS))


async def _until_commands(running: World, count: int, *, at_once: bool) -> Life:
    """A life in which ``count`` commands have reached the exchange; ``at_once``: it is killed by the last of them,
    which the exchange carries out all the same."""
    seen = 0

    def count_one() -> None:
        nonlocal seen
        seen += 1
        if at_once and seen == count:
            life.process.kill()

    running.on_command = count_one
    life = running.start()
    try:
        await eventually(lambda: seen >= count or not _alive(life), 60.0, 0.001)
    finally:
        running.on_command = lambda: None
    assert seen >= count, f"the daemon ended with code {life.process.exitcode}: see {running.log}"
    return life


def _alive(life: Life) -> bool:
    return life.process.exitcode is None


def _moment(rng: random.Random) -> Moment:
    return rng.choices(list(MOMENTS), list(MOMENTS.values()))[0]
