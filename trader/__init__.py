"""nested-trader: paper trading in which learning happens at several nested levels."""
