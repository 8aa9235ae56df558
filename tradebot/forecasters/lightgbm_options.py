"""What a person sets of the family ``lightgbm``."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec


class LightGbmOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a person sets.

    ``horizon``: candles to the outcome. ``min_price_change``: return from which on it is a move. ``min_samples``: fewer
    usable rows (after warm-up) are refused. ``min_feature_share``: share of the features that must have values.
    ``labels``: threshold, or triple-barrier with barriers ``barrier_width`` times the volatility of the last day away.
    ``half_life_days`` of a row's weight. ``members``: boosters with different seeds whose mean serves. ``calibrate``:
    isotonic, where it helps rows that it did not see. ``quantiles``: two more boosters, of the 10 % and 90 % quantile.
    ``compat``: the original recipe beside its honest twin, for comparison only.
    """

    horizon: Literal[1, 2, 3] = 2
    min_price_change: Annotated[float, msgspec.Meta(ge=0.001, le=0.003)] = 0.002
    min_samples: Annotated[int, msgspec.Meta(ge=100)] = 1_000
    min_feature_share: Annotated[float, msgspec.Meta(ge=0.0, le=1.0)] = 0.8
    kind: Literal["two-stage", "three-class", "binary"] = "two-stage"
    labels: Literal["threshold", "triple-barrier"] = "threshold"
    barrier_width: Annotated[float, msgspec.Meta(ge=0.25, le=5.0)] = 1.0
    half_life_days: Annotated[float, msgspec.Meta(ge=1.0, le=3_650.0)] = 45.0
    members: Annotated[int, msgspec.Meta(ge=1, le=8)] = 1
    calibrate: bool = True
    quantiles: bool = False
    compat: bool = False
