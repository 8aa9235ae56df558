"""What every shell around the engine needs, whether it waits for an exchange or plays one back: market data sealed into
events, the timers of the engine, counts of what happened. Nothing here opens a socket or reads a clock of its own."""
