"""What tests of the exchange's side share."""

from __future__ import annotations

import pytest

from tests.eventually import Steady
from tradebot.exchange.bitget import connection
from tradebot.exchange.venues import feed


@pytest.fixture
def steady(monkeypatch: pytest.MonkeyPatch) -> Steady:
    """The time by which connections ping and ask again, and by which a venue's books fall silent."""
    clock = Steady()
    for module in (connection, feed):
        monkeypatch.setattr(module, "monotonic", clock)
    return clock
