"""Kernels compiled before any clock runs."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session", autouse=True)
def compiled():
    """The first compilation takes longer than hundreds of accelerated candles."""
    from trader.session.compiling import compile_kernels

    compile_kernels()
