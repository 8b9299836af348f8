"""`trader` and `python -m trader`: one program, and the one place where exceptions become exit codes.

0 done; 1 a check found a difference; 2 the user's input is wrong; 3 the surroundings failed, or the program itself has
a defect (then with a traceback, because there is something to report). One line on stderr says what and how to go on.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence

from typer.exceptions import Abort, TyperException

from trader.core.errors import SurroundingsError, UserError

INPUT_IS_WRONG = 2
SURROUNDINGS_FAILED = 3
INTERRUPTED = 130
"""What shells report of a program that ended by Ctrl-C; only before a session begins, afterwards it ends with 0."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the return value is the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        from trader.cli.app import app
        from trader.cli.guard import check_packages

        check_packages()
        code = app(words or ["--help"], prog_name="trader", standalone_mode=False)
        sys.stdout.flush()
    except UserError as error:
        return _say(error, INPUT_IS_WRONG)
    except TyperException as error:
        return _say(error.format_message(), INPUT_IS_WRONG)
    except BrokenPipeError:
        # the reader has what it wanted (`| head`); a second flush at exit must not complain either
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except SurroundingsError as error:
        return _say(error, SURROUNDINGS_FAILED)
    except (OSError, MemoryError) as error:
        if getattr(error, "errno", None) == errno.ENAMETOOLONG:
            return _say(f"a name is longer than files may have: {error}", INPUT_IS_WRONG)
        return _say(f"{type(error).__name__}: {error}", SURROUNDINGS_FAILED)
    except (Abort, KeyboardInterrupt):
        return _say("interrupted before anything was begun", INTERRUPTED)
    except Exception:  # noqa: BLE001 - the last border: a defect must not look like "a difference was found" (1)
        import traceback

        traceback.print_exc()
        return _say("this is a defect of the program; what was committed is safe", SURROUNDINGS_FAILED)
    return code if isinstance(code, int) else 0


def _say(message: object, code: int) -> int:
    """One line; what is not to be shown (colours, a terminal's commands) is written out."""
    line = " ".join(str(message).split())
    shown = "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in line)
    sys.stderr.write(f"trader: {shown}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
