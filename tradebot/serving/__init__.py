"""ONNX sessions that give forecasts while the bot trades. Needs onnxruntime and numpy, nothing that trains."""

from __future__ import annotations

from tradebot.serving.answer import answer
from tradebot.serving.forecaster import Forecast, Forecaster
from tradebot.serving.live import Serving, compile_view, require_schema

__all__ = ["Forecast", "Forecaster", "Serving", "answer", "compile_view", "require_schema"]
