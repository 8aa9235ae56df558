"""The embedded exchange: a Bitget-compatible server on loopback with recorded or generated markets."""
