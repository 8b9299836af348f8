"""Reading market data files as their authors left them: one idea a file, put together by trader/feeds/importers.py."""
