"""The laboratory: trains what ships, judges what was stored, runs many sessions. Imports of torch stay in the verbs."""
