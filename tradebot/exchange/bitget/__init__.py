"""Bitget V2 futures: streams, REST, messages, signing."""
