"""Three rows of two views of the seeded random walk, kept in ``golden_rows.json``.

Written by ``python -m tests.features.golden``. A difference means that a kernel gives other numbers: raise its version
(``KERNEL_VERSION``, ``BARS_VERSION``), so that models trained on the old ones are refused, and write the file anew.
"""

from __future__ import annotations

import json
from pathlib import Path

from tests.features.series import WEEK, columns, longer, random_walk
from tradebot.features.views import view

PATH = Path(__file__).with_name("golden_rows.json")
PLACES = (WEEK, WEEK + 1234, 2 * WEEK + 55)


def golden_rows() -> dict[str, dict[str, list[float]]]:
    """View to column name to its values at ``PLACES`` (in 5m candles)."""
    frame = random_walk(2 * WEEK + 56)
    kept = {}
    for name, bars in (("candles-5m", 1), ("bars-15m", 3)):
        shown = view(name)
        rows, _ = shown.batch(*columns(longer(frame, bars)))
        kept[name] = {
            feature: [float(rows[min(place // bars, len(rows) - 1), i]) for place in PLACES]
            for i, feature in enumerate(shown.names)
        }
    return kept


if __name__ == "__main__":
    PATH.write_text(json.dumps(golden_rows(), indent=1) + "\n")
