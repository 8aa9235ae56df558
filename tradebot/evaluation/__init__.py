"""Metrics, intervals, costs, drift and the gate: pure functions of arrays, used by training and back-test."""
