"""A file, or a signal, halts a bot that nobody can talk to."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.eventually import eventually
from tradebot.daemon import haltswitch
from tradebot.daemon.haltswitch import HaltSwitch
from tradebot.errors import JournalError
from tradebot.events import OperatorActed


class Bot:
    """Remembers what it was told; ``fails``: it cannot write that down."""

    def __init__(self, folder: Path) -> None:
        self.acts: list[OperatorActed] = []
        self.halted = False
        self.fails = False
        self.switch = HaltSwitch(folder, lambda: self.halted, self.act)

    def act(self, event: OperatorActed) -> None:
        if self.fails:
            raise JournalError("disk full")
        self.acts.append(event)
        self.halted = True


@pytest.fixture
async def bot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bot]:
    monkeypatch.setattr(haltswitch, "EVERY_S", 0.01)
    made = Bot(tmp_path)
    yield made
    await made.switch.close()


async def test_a_file_that_appears_halts_once(bot: Bot) -> None:
    bot.switch.open()
    assert bot.acts == []
    bot.switch.path.touch()
    await eventually(lambda: bot.halted)
    assert [(e.action, e.actor, e.symbol) for e in bot.acts] == [("halt", "file", "")]
    bot.switch.path.unlink()
    assert bot.halted
    assert len(bot.acts) == 1


async def test_a_file_that_was_there_halts_before_anything_is_traded(bot: Bot) -> None:
    bot.switch.path.symlink_to("nowhere")
    bot.switch.open()
    assert len(bot.acts) == 1


async def test_while_the_file_lies_there_nobody_resumes_the_bot(bot: Bot) -> None:
    bot.switch.path.touch()
    bot.switch.open()
    bot.halted = False
    await eventually(lambda: bot.halted)
    assert len(bot.acts) == 2


async def test_a_signal_that_comes_too_early_is_obeyed_when_there_is_something_to_halt(bot: Bot) -> None:
    bot.switch.press("signal", "SIGUSR1")
    assert bot.acts == []
    bot.switch.open()
    assert [(e.actor, e.reason) for e in bot.acts] == [("signal", "SIGUSR1")]
    bot.switch.press("signal", "SIGUSR1")
    assert len(bot.acts) == 2


async def test_a_halt_that_could_not_be_written_down_is_tried_again(bot: Bot) -> None:
    bot.switch.open()
    bot.fails = True
    bot.switch.path.touch()
    await eventually(lambda: bot.switch._watching is not None and not bot.switch._watching.done())
    bot.fails = False
    await eventually(lambda: bot.halted)
