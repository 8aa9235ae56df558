"""Three rows of the seeded random walk, kept in ``golden_rows.json``.

Written by ``python -m tests.features.golden``. A difference means that the kernel gives other numbers: raise
``KERNEL_VERSION``, so that models trained on the old ones are refused, and write the file anew.
"""

from __future__ import annotations

import json
from pathlib import Path

from tests.features.series import WEEK, columns, random_walk
from tradebot.features.candles import NAMES, batch

PATH = Path(__file__).with_name("golden_rows.json")
PLACES = (WEEK, WEEK + 1234, 2 * WEEK + 55)


def golden_rows() -> dict[str, list[float]]:
    """Column name to its values at ``PLACES``."""
    rows, _ = batch(*columns(random_walk(2 * WEEK + 56)))
    return {name: [float(rows[place, i]) for place in PLACES] for i, name in enumerate(NAMES)}


if __name__ == "__main__":
    PATH.write_text(json.dumps(golden_rows(), indent=1) + "\n")
