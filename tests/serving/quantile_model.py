"""A real LightGBM that gives quantiles, as the pipeline exports it."""

from __future__ import annotations

from functools import cache

import msgspec

from tests.registry.tiny_model import graph, manifest
from tests.training import market
from tradebot.forecasters.base import Family, family
from tradebot.forecasters.lightgbm_fit import FittedBoosters
from tradebot.registry import Artefact, Inputs
from tradebot.registry.manifest import sha256_hex
from tradebot.training.dataset import build_dataset
from tradebot.training.parity import check_parity
from tradebot.training.record import outputs_of
from tradebot.training.splits import split_by_time


@cache
def made() -> tuple[FittedBoosters, Artefact]:
    """The boosters and their version ``SOLUSDT/lightgbm-5m v0001``."""
    kind: Family = family("lightgbm", {"quantiles": True})
    data = build_dataset(kind, market.candles(6_000, momentum=0.9))
    cut = split_by_time(data.sample, validation_share=0.2, test_share=0.2, bar_ms=market.BAR_MS, embargo_bars=12)
    prepared = kind.prepare(cut.train, cut.validation, seed=1, threads=1)
    fitted = kind.fit(prepared, kind.defaults(15), rounds=15)
    assert isinstance(fitted, FittedBoosters)
    exported = fitted.export(data.sample.rows)
    parity = check_parity(fitted, exported.onnx, exported.input_name, data.sample.rows[-1_000:], where="test")
    told = msgspec.structs.replace(
        manifest(graph(), schema_hash=kind.schema_hash),
        family=kind.name,
        name=kind.name,
        inputs=Inputs(
            tensor=exported.input_name,
            features=tuple(kind.features),
            schema_hash=kind.schema_hash,
            interval=kind.interval,
            row_shape=(len(kind.features),),
            view=kind.view,
        ),
        outputs=outputs_of(exported),
        golden=parity.golden,
        sha256=sha256_hex(exported.onnx),
    )
    return fitted, Artefact(key=told.key, version="v0001", manifest=told, model=exported.onnx)
