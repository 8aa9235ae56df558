"""The command line called in this process, with a working directory and an environment of its own."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from tradebot.cli.entry import run


class Output(NamedTuple):
    """What a command left behind."""

    code: int
    out: str
    err: str


Tradebot = Callable[..., Output]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory; no setting comes from the environment."""
    for name in os.environ:
        if name.startswith("TRADEBOT_") or name in ("CONFIGURATION_DIRECTORY", "CREDENTIALS_DIRECTORY"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def tradebot(home: Path, capsys: pytest.CaptureFixture[str]) -> Tradebot:
    """``tradebot("config", "check")`` runs a command in ``home``."""

    def call(*argv: str) -> Output:
        capsys.readouterr()
        code = run(argv)
        out, err = capsys.readouterr()
        return Output(code, out, err)

    return call
