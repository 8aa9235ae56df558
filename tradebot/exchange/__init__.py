"""The wire: clients of exchanges. Everything above speaks events and commands."""
