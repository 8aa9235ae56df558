"""Talking to a daemon: the real socket on both sides."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cli.conftest import Tradebot
from tradebot.daemon.control import ControlSocket
from tradebot.daemon.haltswitch import NAME
from tradebot.daemon.snapshot import Snapshot
from tradebot.errors import BusyError
from tradebot.events import OperatorActed


class Bot:
    """Stands for the daemon behind the socket."""

    def __init__(self) -> None:
        self.acts: list[OperatorActed] = []
        self.shot: Snapshot = {"mode": "paper", "phase": "trading", "equity": 10_000.5, "tradability": "active"}

    def snapshot(self) -> Snapshot:
        return self.shot

    def operate(self, event: OperatorActed) -> None:
        if event.reason == "busy":
            raise BusyError("try later")
        self.acts.append(event)

    def knows(self, symbol: str) -> bool:
        return symbol == "SOLUSDT"


@contextmanager
def listening(state: Path) -> Iterator[Bot]:
    """A control socket in ``state``, served from another thread."""
    state.mkdir(parents=True)
    bot, loop = Bot(), asyncio.new_event_loop()
    control = ControlSocket(state / "control.sock", bot)
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(control.open(), loop).result(10)
        yield bot
        asyncio.run_coroutine_threadsafe(control.close(), loop).result(10)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def test_without_a_daemon_each_command_says_so_and_exits_69(tradebot: Tradebot, home: Path) -> None:
    said = f"tradebot: no daemon is running on {home}/state (start one with 'tradebot run')"
    for argv in (["status"], ["status", "--json"], ["halt"], ["pause"], ["resume"]):
        done = tradebot(*argv)
        assert (done.code, done.out) == (69, "")
        if argv == ["halt"]:
            assert done.err.startswith(f"{said}; an empty file {home}/state/{NAME} halts the next start")
        else:
            assert done.err == f"{said}\n"
    assert list(home.iterdir()) == []


def test_a_socket_that_a_killed_daemon_left_counts_as_no_daemon(tradebot: Tradebot, home: Path) -> None:
    (home / "state").mkdir()
    with socket.socket(socket.AF_UNIX) as left:
        left.bind("state/control.sock")
    done = tradebot("status")
    assert done.code == 69
    assert "no daemon is running" in done.err


def test_a_daemon_that_dies_while_answering_is_not_taken_for_an_answer(tradebot: Tradebot, home: Path) -> None:
    (home / "state").mkdir()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("state/control.sock")
        server.listen()

        def die() -> None:
            connection, _ = server.accept()
            connection.recv(100)
            connection.sendall(b'{"ok":tr')
            connection.close()

        thread = threading.Thread(target=die)
        thread.start()
        done = tradebot("status")
        thread.join()
    assert done.code == 69
    assert "went away before it answered" in done.err


def test_status_is_the_snapshot_as_one_json_line_or_a_page(tradebot: Tradebot, home: Path) -> None:
    with listening(home / "state") as bot:
        done = tradebot("status", "--json")
        assert (done.code, json.loads(done.out)) == (0, bot.shot)
        page = tradebot("status")
        assert page.code == 0
        assert "tradebot paper  trading" in page.out
        assert "equity 10,000.50" in page.out


def test_a_halted_bot_is_exit_code_4(tradebot: Tradebot, home: Path) -> None:
    with listening(home / "state") as bot:
        bot.shot["tradability"], bot.shot["halt_reason"] = "halted", "by hand"
        done = tradebot("status")
        assert done.code == 4
        assert "HALTED by hand" in done.out
        done = tradebot("status", "--json")
        assert (done.code, json.loads(done.out)["halt_reason"]) == (4, "by hand")


def test_acts_name_who_did_them_and_why(tradebot: Tradebot, home: Path) -> None:
    with listening(home / "state") as bot:
        assert tradebot("halt", "--reason", "storm").out == "all symbols: halted\n"
        assert tradebot("pause", "--symbol", "SOLUSDT").out == "SOLUSDT: entries paused\n"
        assert tradebot("resume").out == "all symbols: resumed\n"
        assert [(a.action, a.symbol, a.reason) for a in bot.acts] == [
            ("halt", "", "storm"), ("pause", "SOLUSDT", ""), ("resume", "", ""),
        ]  # fmt: skip
        assert bot.acts[0].actor.startswith("cli:")


def test_what_the_daemon_refuses_keeps_its_line_and_exit_code(tradebot: Tradebot, home: Path) -> None:
    with listening(home / "state") as bot:
        done = tradebot("pause", "--symbol", "DOGEUSDT")
        assert (done.code, done.err) == (2, "tradebot: DOGEUSDT is not traded by this daemon\n")
        done = tradebot("halt", "--reason", "busy")
        assert (done.code, done.err) == (75, "tradebot: try later\n")
        assert bot.acts == []


def test_positions_are_closed_adopted_and_ignored_by_name(tradebot: Tradebot, home: Path) -> None:
    with listening(home / "state") as bot:
        assert tradebot("close", "SOLUSDT").out == "SOLUSDT: closing the position\n"
        assert tradebot("adopt", "SOLUSDT").code == 0
        assert tradebot("ignore", "SOLUSDT", "--reason", "mine").code == 0
        assert tradebot("flatten", "--yes").out == "all symbols: halted, closing every position\n"
        assert [(a.action, a.symbol, a.reason) for a in bot.acts] == [
            ("close", "SOLUSDT", ""), ("adopt", "SOLUSDT", ""), ("ignore", "SOLUSDT", "mine"), ("flatten", "", ""),
        ]  # fmt: skip


def test_flatten_needs_a_typed_word_or_yes_and_in_live_the_word(tradebot: Tradebot, home: Path) -> None:
    with listening(home / "state") as bot:
        assert tradebot("flatten").code == 2
        bot.shot["mode"] = "live"
        assert tradebot("flatten", "--yes").code == 2
        assert bot.acts == []


def test_resuming_real_money_needs_a_person(tradebot: Tradebot, home: Path) -> None:
    with listening(home / "state") as bot:
        bot.shot["mode"] = "live"
        done = tradebot("resume")
        assert done.code == 2
        assert "a person at a terminal" in done.err
        assert bot.acts == []


def test_the_path_may_be_longer_than_a_socket_address(
    tradebot: Tradebot, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = home / ("d" * 100) / ("e" * 100)
    with listening(deep):
        assert tradebot("status", "--json", "--state", str(deep)).code == 0
        assert os.stat(deep / "control.sock").st_mode & 0o777 == 0o600
