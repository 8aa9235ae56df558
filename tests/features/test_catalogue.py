from __future__ import annotations

import doctest
import json
from pathlib import Path

import pytest

from tests.features import golden
from tests.features.series import MONDAY, WEEK
from tradebot.features import catalogue, document, epoch, views
from tradebot.features.catalogue import CATALOGUE, NAMES
from tradebot.features.compiled import fingerprint, part
from tradebot.features.epoch import BAR_MS, WEEK_MS, epoch_of, history_bars_needed


def test_the_catalogue_has_the_81_columns_in_order_and_once() -> None:
    assert len(NAMES) == len(set(NAMES)) == 81
    assert NAMES[:9] == ("ret_1", "ret_2", "ret_3", "ret_6", "ret_12", "ret_24", "ret_48", "ret_96", "ret_z")
    assert NAMES[50] == "vol_tod"
    assert NAMES[68:74] == ("rsi_14_15m", "ema_dist_21_15m", "rsi_14_1h", "macd_hist_1h", "rv_24_1h", "ret_1_4h")
    assert NAMES[74:] == ("btc_ret_1", "btc_ret_12", "beta_96", "resid_12", "funding", "basis", "oi_chg_12")


def test_the_epoch_leaves_every_feature_at_least_its_warm_up() -> None:
    shortest = min(history_bars_needed(MONDAY + i * BAR_MS) for i in range(WEEK)) - 1
    assert max(feature.warmup for feature in CATALOGUE) <= shortest


def test_a_changed_schema_is_noticed() -> None:
    """Changing a name or formula, or raising the kernel version, refuses every model trained before. Pin it anew."""
    assert catalogue.SCHEMA_HASH == "152235d142bac3af72d164e6db9c72db85acfb49c41b0e17bd600e96171f406e"


@pytest.mark.parametrize(("offset_ms", "weeks_back"), [(0, 1), (1, 1), (WEEK_MS - 1, 1), (WEEK_MS, 0), (-1, 2)])
def test_the_epoch_is_the_last_monday_at_least_seven_days_before(offset_ms: int, weeks_back: int) -> None:
    assert epoch_of(MONDAY + offset_ms) == MONDAY - weeks_back * WEEK_MS


def test_the_fingerprint_changes_with_an_instruction_and_with_a_constant() -> None:
    seen = set()
    for source, constant in (("x + 1.0", 1.0), ("x + 2.0", 1.0), ("x * 2.0", 1.0), ("x * SIZE", 1.0), ("x * SIZE", 2)):
        scope: dict[str, object] = {"SIZE": constant}
        exec(f"def f(x):\n    return {source}\ndef g(x):\n    return f(x)", scope)
        scope["f"] = part(scope["f"])  # type: ignore[arg-type]
        seen.add(fingerprint(part(scope["g"])))  # type: ignore[arg-type]
    assert len(seen) == 5


def test_the_page_about_features_is_current() -> None:
    page = Path(__file__).resolve().parents[2] / "docs" / "features.md"
    assert page.read_text() == document.markdown(), "run: python -m tradebot.features.document > docs/features.md"
    examples = doctest.testfile(str(page), module_relative=False)
    assert examples.attempted
    assert not examples.failed


@pytest.mark.parametrize("module", [views, catalogue, epoch], ids=lambda module: module.__name__)
def test_examples_in_docstrings_hold(module: object) -> None:
    result = doctest.testmod(module)  # type: ignore[arg-type]
    assert result.attempted
    assert not result.failed


def test_the_kernel_gives_the_numbers_models_were_trained_on() -> None:
    kept = json.loads(golden.PATH.read_text())
    now = golden.golden_rows()
    assert list(now) == list(kept)
    for view, features in now.items():
        assert list(features) == list(kept[view])
        for name, values in features.items():
            assert values == pytest.approx(kept[view][name], rel=2e-6, abs=1e-9, nan_ok=True), (view, name)
