"""The paper exchange: how an order becomes a fill, what it costs, and when a position is taken over."""
