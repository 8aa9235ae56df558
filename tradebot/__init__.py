"""tradebot: a live trading daemon for Bitget USDT futures."""
