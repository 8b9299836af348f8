"""nested-trader: paper trading in which learning happens at several nested levels."""

__version__ = "0.1.0"
