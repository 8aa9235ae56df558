"""Recorded and documented messages, as the exchange would put them on the wire."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from tests.shared import shared_path

FILES = ("ccxt_static_recorded", "bitget_net_tests", "docs_samples", "ccxt_comments", "hummingbot_tests")


@cache
def _read(name: str, path: str) -> Any:
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def fixture(name: str) -> Any:
    """One file of ``bitget_fixtures``."""
    return _read(name, str(shared_path(f"data/bitget_fixtures/{name}.json")))


def wire(message: Any) -> bytes:
    """A message as bytes, without spaces."""
    return json.dumps(message, separators=(",", ":")).encode()


def pushes() -> list[tuple[str, dict[str, Any]]]:
    """Every futures push in the samples, with where it comes from."""
    found: list[tuple[str, dict[str, Any]]] = []

    def search(where: str, node: Any) -> None:
        if isinstance(node, dict):
            arg = node.get("arg")
            if isinstance(arg, dict) and "data" in node and arg.get("instType") == "USDT-FUTURES" and "channel" in arg:
                found.append((where, node))
            else:
                for key, value in node.items():
                    search(f"{where}/{key}", value)
        elif isinstance(node, list):
            for at, value in enumerate(node):
                search(f"{where}/{at}", value)

    for name in FILES:
        search(name, fixture(name))
    return found


def answers(part: str) -> list[tuple[str, Any]]:
    """``data`` of every successful REST answer whose sample's name or path contains ``part``."""
    found: list[tuple[str, Any]] = []
    for name, entry in fixture("bitget_net_tests").items():
        if part in entry.get("path", ""):
            found.append((name, entry["response"]["data"]))
    for name, entry in fixture("docs_samples").items():
        if part in (entry["path"] or ""):
            found += [(name, e["json"]["data"]) for e in entry["examples"] if e["kind"] == "response"]
    return found
