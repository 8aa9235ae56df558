"""A person moves the pointer while the bot runs: it takes the other version up, and goes back."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from tests.e2e.conftest import SYMBOL, Sim, settings_json
from tests.e2e.daemon_process import start
from tests.e2e.test_run import cli, records, status, stop
from tests.eventually import presently
from tradebot.events import ModelSwapped
from tradebot.registry import ModelKey, ModelStore
from tradebot.registry.store import MANIFEST_FILE, SUMS_FILE

KEY = ModelKey(SYMBOL, "lightgbm", "5m")


def test_a_running_bot_takes_up_a_promotion_and_a_rollback_from_the_command_line(
    free_sim: Sim, model_store: Path, tmp_path: Path
) -> None:
    state, settings = tmp_path / "state", tmp_path / "settings.json"
    store = ModelStore(shutil.copytree(model_store, tmp_path / "models"))
    files = {n: c for n, c in store.files(KEY, "v0001").items() if n not in (MANIFEST_FILE, SUMS_FILE)}
    assert store.add(store.manifest(KEY, "v0001"), files) == "v0002"
    exchange = settings_json(free_sim, state, store.root)["exchange"]
    assert isinstance(exchange, dict)
    changes = {"mode": "paper", "exchange": {**exchange, "clock": "wall"}}
    settings.write_text(json.dumps(settings_json(free_sim, state, store.root, **changes)))

    def swaps() -> list[tuple[str, str]]:
        return [(swap.ref.version, swap.reason) for swap in records(state, ModelSwapped)]

    process = start(settings)
    try:
        status(state)
        presently(lambda: len(swaps()) == 1, 30)
        where = ("--store", str(store.root))
        done = cli(tmp_path, "models", "promote", SYMBOL, "v0002", "--reason", "by hand", *where)
        assert done.returncode == 0, done.stderr
        presently(lambda: len(swaps()) == 2, 20)
        done = cli(tmp_path, "models", "rollback", SYMBOL, "--reason", "and back", *where)
        assert done.returncode == 0, done.stderr
        presently(lambda: len(swaps()) == 3, 20)
    finally:
        assert stop(process) == 0
    assert [version for version, _ in swaps()] == ["v0001", "v0002", "v0001"]
    assert [why.partition(": ")[2] for _, why in swaps()[1:]] == ["by hand", "and back"]
