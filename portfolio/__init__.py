"""The central capital pool: double-entry ledger, grants, allocation rules, risk limits."""

from portfolio.ledger import ImbalanceError, Ledger
from portfolio.pool import CapitalPool

__all__ = ["CapitalPool", "ImbalanceError", "Ledger"]
