"""What a market is: instruments, candles, order books, and a rolling memory of them. Pure: no I/O, no clock."""
