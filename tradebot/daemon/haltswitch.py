"""Halting the bot without its control socket: a file named HALT in the state directory, or a signal."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import structlog

from tradebot.errors import TradebotError
from tradebot.events import OperatorActed

log = structlog.get_logger(__name__)

NAME = "HALT"
EVERY_S = 1.0


class HaltSwitch:
    """``halted`` says whether the bot is halted, ``act`` carries out an operator's act.

    The file is looked at once a second by the machine's clock. While it lies there the bot is halted, whoever resumes
    it; removing it resumes nothing. What happens before :meth:`open` is done then.
    """

    def __init__(self, folder: Path, halted: Callable[[], bool], act: Callable[[OperatorActed], object]) -> None:
        self.path = folder / NAME
        self._halted = halted
        self._act = act
        self._open = False
        self._pressed: OperatorActed | None = None
        self._watching: asyncio.Task[None] | None = None

    @property
    def lies_there(self) -> bool:
        """Whether the file is there, whatever it is."""
        return os.path.lexists(self.path)

    def press(self, actor: str, reason: str) -> None:
        """Halt now, or as soon as there is something to halt."""
        event = OperatorActed(action="halt", actor=actor, reason=reason)
        if self._open:
            self._act(event)
        else:
            self._pressed = event

    def open(self) -> None:
        """The bot can be halted from here on. Must run before anything is traded."""
        self._open = True
        if self._pressed is not None:
            self._act(self._pressed)
        self._look()
        self._watching = asyncio.create_task(self._watch(), name="halt file")

    async def close(self) -> None:
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)

    def _look(self) -> None:
        if self.lies_there and not self._halted():
            self.press("file", str(self.path))

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(EVERY_S)
            try:
                self._look()
            except TradebotError as error:  # a journal that fails ends the run elsewhere
                log.error("halt_file_not_obeyed", path=str(self.path), reason=str(error))
