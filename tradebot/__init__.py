"""tradebot: a live trading daemon for Bitget USDT futures."""

__version__ = "0.1.0"
