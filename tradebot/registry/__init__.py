"""The model store: immutable versions, their manifests, and the pointers that say which one serves."""

from __future__ import annotations

from tradebot.registry.manifest import (
    Gate,
    GateCheck,
    Golden,
    Inputs,
    Lineage,
    Manifest,
    Metric,
    ModelKey,
    Output,
)
from tradebot.registry.pointers import Challenger, Champion
from tradebot.registry.store import Artefact, Listing, ModelStore

__all__ = [
    "Artefact",
    "Challenger",
    "Champion",
    "Gate",
    "GateCheck",
    "Golden",
    "Inputs",
    "Lineage",
    "Listing",
    "Manifest",
    "Metric",
    "ModelKey",
    "ModelStore",
    "Output",
]
