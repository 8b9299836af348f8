"""What ends a session from outside is told as that, also where cleaning up failed in its turn; a defect stays one."""

from __future__ import annotations

import pytest

from trader.core.errors import SurroundingsError
from trader.session.api import _telling_how_to_resume


def out_of_memory_then_closed():
    try:
        raise MemoryError
    finally:
        raise ValueError("I/O operation on closed file")


def test_what_came_of_a_lack_of_memory_is_one():
    with (
        pytest.raises(SurroundingsError, match=r"^MemoryError; .*trader resume 7$"),
        _telling_how_to_resume(7),
    ):
        out_of_memory_then_closed()


@pytest.mark.parametrize("error", [OSError("disk"), SurroundingsError("server"), MemoryError("bytes")])
def test_faults_of_the_surroundings_say_how_to_go_on(error):
    with pytest.raises(SurroundingsError, match=f"{error}; .*trader resume 7$"), _telling_how_to_resume(7):
        raise error


def test_a_defect_stays_a_defect():
    with pytest.raises(ZeroDivisionError), _telling_how_to_resume(7):
        _ = 1 // 0
