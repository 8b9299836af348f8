"""Every database and file operation of a thirty-candle session, failed or died at: resumed, the run is equal.

The disk fails below SQLite and Python (`failing_io.c`), the database above the driver (`failing_sql.py`). A failed
operation may be retried or passed over, else the command ends with exit 3 and one line that says how to resume. Then
the resumed run has the digest and every row of the run that nobody disturbed.
"""

from __future__ import annotations

import errno

import pytest

from tests.survival.survival_support import differences, fresh_folder, intact, one_line, resumed

STEP = 10
IO = {"error": errno.EIO, "full": errno.ENOSPC, "die": 0}


def acceptable(ended, action) -> bool:
    """Exit 3 and how to go on, or done in spite of it, or died as it was told to."""
    if action == "die":
        return ended.code == 137 and not ended.errors
    if ended.code == 0:
        return not ended.errors or "warning" in ended.errors
    return ended.code == 3 and one_line(ended)


def tell(ended) -> str:
    return f"exit {ended.code}: {ended.errors[-600:]}"


def broken(commands, short, parent, request, action) -> str | None:
    """What is wrong after a session with one failure, if anything."""
    folder = fresh_folder(parent)
    database = folder / "a.db"
    ended = commands(
        "run", short.config, "--db", database, "--json", "--quiet",
        **{name: [str(folder), *value] if name == "io" else value for name, value in request.items()},
    )  # fmt: skip
    if not acceptable(ended, action):
        return tell(ended)
    if ended.code == 3 and database.exists() and "trader resume 1" not in ended.errors:
        began = commands("db", "runs", "--db", database, "--json")
        if began.code == 0 and began.json():
            return f"does not say how to resume: {tell(ended)}"
    summary = resumed(commands, short.config, database)
    if summary["digest"] != short.summary["digest"] or summary["equity_end"] != short.summary["equity_end"]:
        return "another digest"
    if not intact(database):
        return "a damaged database"
    return ", ".join(differences(database, short.tables)) or None


def all_that_fail(commands, short, parent, kind, action, numbers):
    request = (lambda k: {"io": [k, IO[action], -1]}) if kind == "io" else (lambda k: {"sql": [k, action]})
    found = {k: broken(commands, short, parent, request(k), action) for k in numbers}
    return {k: wrong for k, wrong in found.items() if wrong}


CASES = [("io", "error"), ("io", "full"), ("io", "die"), ("sql", "error"), ("sql", "die")]


@pytest.mark.parametrize(("number", "kind", "action"), [(i, *case) for i, case in enumerate(CASES)])
def test_every_tenth_operation(commands, short, tmp_path, number, kind, action):
    first, step = (1 + 10 * number, STEP * 3) if kind == "io" else (1 + 5 * (number - 3), STEP * 2)
    numbers = range(first, short.seen[kind] + 1, step)
    print(f"{len(numbers)} of {short.seen[kind]} {kind} operations")
    assert len(numbers) >= 10
    assert all_that_fail(commands, short, tmp_path, kind, action, numbers) == {}


@pytest.mark.nightly
@pytest.mark.timeout(0)
@pytest.mark.parametrize(("kind", "action"), CASES)
def test_every_operation(commands, short, tmp_path, kind, action):
    assert all_that_fail(commands, short, tmp_path, kind, action, range(1, short.seen[kind] + 1)) == {}
