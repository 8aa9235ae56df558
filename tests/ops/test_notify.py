"""What systemd hears."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tradebot.ops.notify import ServiceNotifier


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(path)
        listener.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", path)
        yield listener


def test_the_states_of_a_service_arrive(systemd: socket.socket) -> None:
    notifier = ServiceNotifier()
    notifier.ready("trading\n2 symbols")
    notifier.watchdog()
    notifier.status("waiting")
    notifier.reloading()
    notifier.stopping("bye")
    heard = [systemd.recv(1024).decode() for _ in range(5)]
    assert heard[0] == "READY=1\nSTATUS=trading 2 symbols"
    assert heard[1:3] == ["WATCHDOG=1", "STATUS=waiting"]
    assert heard[3].startswith("RELOADING=1\nMONOTONIC_USEC=")
    assert heard[4] == "STOPPING=1\nSTATUS=bye"


def test_the_watchdog_is_fed_twice_as_often_as_asked(systemd: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "30000000")
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
    assert ServiceNotifier().watchdog_s == 15.0
    monkeypatch.setenv("WATCHDOG_PID", "1")  # meant for our parent
    assert ServiceNotifier().watchdog_s is None


def test_outside_systemd_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"):
        monkeypatch.delenv(name, raising=False)
    notifier = ServiceNotifier()
    assert (notifier.active, notifier.watchdog_s) == (False, None)
    notifier.ready()
    notifier.watchdog()
