"""What every net shares: one training loop, resident rows, scaling inside the graph, and the way to ONNX.

Needs torch (``pip install 'tradebot[deep]'``); nothing outside the net families imports it.
"""
