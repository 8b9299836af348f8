"""The central capital pool: double-entry ledger, grants, allocation rules, risk limits."""
