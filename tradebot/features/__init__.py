"""The feature catalogue: one function per market view, used unchanged by training, back-test and live. Pure."""
