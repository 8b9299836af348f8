"""Where frames come from: files, a synthetic market, later an exchange. Only this package knows ccxt."""
