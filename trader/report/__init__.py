"""What a run was worth: metrics with intervals, baselines, breakdowns, as one document and as a card for people.

This package knows arrays only: no database, no session. `trader.session.reporting` reads a run and brings it here.
"""
