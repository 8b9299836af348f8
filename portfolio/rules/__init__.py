"""Allocation rules, one a file: pure functions from the agents' records to the capital each should have."""
