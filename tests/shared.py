"""Where tests find recorded market data and protocol messages, which are not part of the repository."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(os.environ.get("TRADEBOT_SHARED", Path(__file__).resolve().parent.parent.parent / "shared"))


def shared_path(relative: str) -> Path:
    """The shared file or folder, or a skip with the reason. ``relative`` like ``data/market/candles/x.parquet``."""
    path = ROOT / relative
    if not path.exists():
        pytest.skip(f"needs recorded data: {relative} (set TRADEBOT_SHARED to the folder that holds it)")
    return path
