"""Model cards say what their manifest says."""

from __future__ import annotations

import msgspec

from tests.registry.tiny_model import graph, manifest
from tradebot.registry import ModelKey
from tradebot.registry.card import index_card, model_card

MADE = manifest(graph(), verdict="provisional")


def test_a_card_states_data_metrics_baselines_gate_limits_and_licence() -> None:
    text = model_card(MADE, "v0007", serves=True)
    assert text.startswith("---\nlibrary_name: onnx\n")
    for part in (
        "# SOLUSDT/tiny-5m v0007",
        "Champion of its model. **Provisional:",
        "1970-01-01 00:00 to 1970-01-01 00:00 UTC",
        "`" + "0" * 64 + "`",
        MADE.sha256,
        "| move_auc | 0.61 | 0.58 to 0.64 (90%) | 0.5 |",
        "**provisional** on 0 rows: made for a test",
        "|expected return| >= 5.00 bp",
        "Apache License 2.0",
        "Not investment advice",
    ):
        assert part in text
    assert text == model_card(MADE, "v0007", serves=True)


def test_a_card_names_what_was_unknown_and_what_is_for_research_only() -> None:
    spec = {**MADE.lineage.spec, "absent": "basis, oi_chg_12"}
    changed = msgspec.structs.replace(
        MADE, research_only="needs the whole history", lineage=msgspec.structs.replace(MADE.lineage, spec=spec)
    )
    text = model_card(changed, "v0001")
    assert "**For research only; never serves:** needs the whole history" in text
    assert "unknown throughout its training: basis, oi_chg_12" in text


def test_the_index_links_every_version() -> None:
    text = index_card("a/b", [(ModelKey("SOLUSDT", "tiny", "5m"), "v0002", MADE)])
    assert "[SOLUSDT/tiny-5m](SOLUSDT/tiny-5m/v0002/README.md) | v0002 | provisional" in text
