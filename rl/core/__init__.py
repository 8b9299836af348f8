"""What the policies share: networks, action distributions, returns, batches of environments, archives."""
