"""The two kinds of error that a person is told about in one line; everything else is a defect of the program.

They stand apart from the other types so that the command line can know them without importing numpy.
"""

from __future__ import annotations


class UserError(Exception):
    """The user's input is wrong. The message is one line that names the file, key or row and the rule: exit code 2."""


class SurroundingsError(Exception):
    """Exchange, disk or database failed after the documented retries: exit code 3; the line says how to resume."""
