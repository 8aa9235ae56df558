"""A ledger that an earlier release wrote is told as that, not as empty."""

from __future__ import annotations

from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config

from tradebot.errors import DataError
from tradebot.ledger import Ledger, database
from tradebot.ledger.aftermath import trade_of
from tradebot.ledger.queries import last_signals


def test_a_ledger_of_an_earlier_release_is_not_called_empty(tmp_path: Path) -> None:
    ledger = Ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}")
    config = Config()
    config.set_main_option("script_location", str(Path(database.__file__).with_name("migrations")))
    with ledger.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0003")
    for ask in (lambda: trade_of(ledger, "1-1"), lambda: last_signals(ledger)):
        with pytest.raises(DataError, match=r"written by an older tradebot .*tradebot ledger rebuild"):
            ask()
    ledger.close()
