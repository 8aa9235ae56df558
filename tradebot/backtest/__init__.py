"""Back-tests: the same engine on recorded or generated markets, in this process, as fast as the machine goes."""
