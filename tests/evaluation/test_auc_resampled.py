from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradebot.errors import DataError
from tradebot.evaluation.auc_resampled import resampled_auc
from tradebot.evaluation.bootstrap import stationary_blocks, stationary_rows
from tradebot.evaluation.classification import auc


@given(
    rows=st.lists(
        st.tuples(st.sampled_from([0.1, 0.2, 0.5, 0.7]), st.booleans(), st.booleans()), min_size=1, max_size=40
    ),
    block=st.floats(1, 20),
    seed=st.integers(0, 1_000),
)
def test_the_area_of_every_resample_is_that_of_its_rows(
    rows: list[tuple[float, bool, bool]], block: float, seed: int
) -> None:
    score, happened, among = (np.array(column) for column in zip(*rows, strict=True))
    blocks = stationary_blocks(len(rows), block=block, draws=12, seed=seed)
    picked = stationary_rows(len(rows), block=block, draws=12, seed=seed)
    everywhere, only = resampled_auc(score, happened, *blocks), resampled_auc(score, happened, *blocks, among)
    for draw, own in enumerate(picked):
        for found, of in ((everywhere, own), (only, own[among[own]])):
            expected = auc(score[of], happened[of]) if len(of) else None
            assert found[draw] == pytest.approx(np.nan if expected is None else expected, nan_ok=True)


def test_many_rows_of_scores_that_all_differ() -> None:
    rng = np.random.default_rng(3)
    score, happened = rng.normal(size=5_000), rng.random(5_000) < 0.3
    blocks = stationary_blocks(5_000, block=288, draws=20, seed=1)
    picked = stationary_rows(5_000, block=288, draws=20, seed=1)
    expected = [auc(score[own], happened[own]) for own in picked]
    assert resampled_auc(score, happened, *blocks) == pytest.approx(expected, rel=1e-12)


def test_a_score_that_is_no_number_is_refused() -> None:
    with pytest.raises(DataError, match="not finite"):
        resampled_auc([0.5, np.nan], [0, 1], *stationary_blocks(2, block=1, draws=2, seed=0))
