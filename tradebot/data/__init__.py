"""History: recorded candles, order books, trades and funding as validated columns."""
