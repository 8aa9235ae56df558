"""The asyncio shell around the engine: it feeds events in one order and carries out commands."""
