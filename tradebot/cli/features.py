"""What models look at: ``tradebot features list`` and ``explain``."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tradebot.cli.options import JsonOption
from tradebot.cli.output import json_line, line, pairs, table
from tradebot.errors import UsageError

if TYPE_CHECKING:
    from tradebot.features.feature import Feature
    from tradebot.features.views import View

app = typer.Typer(help="What models look at.", no_args_is_help=True, rich_markup_mode=None)

ViewOption = Annotated[str | None, typer.Option("--view", metavar="NAME", help="Columns of one view, in their order.")]


@app.command("list")
def list_features(view: ViewOption = None, as_json: JsonOption = False) -> None:
    """Every feature with its unit, warm-up and formula; of one view with --view."""
    from tradebot.features.views import VIEWS

    if view is not None and view not in VIEWS:
        raise UsageError(f"there is no view {view!r}; known: {', '.join(VIEWS)}")
    shown = list(VIEWS.values()) if view is None else [VIEWS[view]]
    described = {f.name: _described(f, _views_of(f.name)) for own in shown for f in own.features}
    if as_json:
        for number, entry in enumerate(described.values(), start=1):
            json_line(({"number": number} if view else {}) | entry)
        return
    rows = [
        (number, e["name"], e["unit"], e["warmup"], ", ".join(e["views"]), e["formula"])
        for number, e in enumerate(described.values(), start=1)
    ]
    table(["#", "name", "unit", "warm-up", "views", "formula"], rows, right=[0, 3])
    if view is None:
        line(f"{len(rows)} features in {len(VIEWS)} views; 'tradebot features explain NAME' says more of one")


@app.command("explain")
def explain(name: Annotated[str, typer.Argument(metavar="NAME")], as_json: JsonOption = False) -> None:
    """What one feature means, how it is computed, and its value on a small made-up series."""
    from tradebot.features.definitions import DEFINITIONS, example
    from tradebot.features.feature import UNITS
    from tradebot.features.views import VIEWS

    known = {feature.name: feature for own in VIEWS.values() for feature in own.features}
    if name not in known:
        near = get_close_matches(name, known, n=4, cutoff=0.5)
        hint = f"did you mean {', '.join(near)}?" if near else "'tradebot features list' names them"
        raise UsageError(f"there is no feature {name!r}; {hint}")
    views = _views_of(name)
    entry = _described(known[name], views)
    values = {own.interval: DEFINITIONS[name](example(own.interval)) for own in views}
    if as_json:
        json_line(entry | {"unit_meaning": UNITS[known[name].unit], "example": values})
        return
    pairs(
        [
            ("name", name),
            ("meaning", entry["meaning"]),
            ("formula", entry["formula"]),
            ("unit", f"{entry['unit']}: {UNITS[known[name].unit]}"),
            ("warm-up", f"{entry['warmup']} candles before the current one"),
            ("source", entry["source"]),
            ("needs", ", ".join(entry["needs"]) or "the candles alone"),
            ("views", ", ".join(entry["views"])),
            ("example", ", ".join(f"{value:.6g} ({interval})" for interval, value in values.items())),
        ]
    )
    line("abbreviations, what is NaN, and the example's series: docs/features.md")


def _views_of(name: str) -> list[View]:
    from tradebot.features.views import VIEWS

    return [own for own in VIEWS.values() if name in own.names]


def _described(feature: Feature, views: list[View]) -> dict[str, Any]:
    return {
        "name": feature.name,
        "formula": feature.formula,
        "unit": feature.unit,
        "warmup": feature.warmup,
        "meaning": feature.meaning,
        "source": feature.source,
        "needs": feature.needs,
        "views": [own.name for own in views],
    }
