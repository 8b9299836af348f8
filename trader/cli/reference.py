"""The reference pages docs/commands.md and docs/config.md, written from the program itself.

`make docs` writes them; a test compares what is written with what this module would write, so a command, an option or
a config key cannot be undocumented.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel

from trader.core.config import Config, as_dict, load
from trader.core.config_file import section

COMMANDS_HEAD: Final = """# Commands

`trader` and `python -m trader` are the same program. This page is written from the program by `make docs`.

**Exit codes.** 0 done; 1 a check found a difference (`verify`, `db check`); 2 the input is wrong: one line on stderr
names the file, key or row and the rule, nothing was written; 3 the surroundings failed (database, disk, exchange), all
that was accepted so far is committed and the line says how to resume. A defect of the program also ends with 3, and
shows a traceback.

**Signals.** Ctrl-C or SIGTERM during a session: the candle is finished and committed, exit 0, status `stopped`. A
second signal ends the process at once (130 or 143) and loses nothing that was committed. `trader resume` goes on.

**Database.** `--db URL`, else the config's `store.url`, else the environment's `TRADER_DB`, else SQLite at
`data/runs/trader.db`. URLs: `sqlite:///FILE`, `postgresql+psycopg://user@host/database`, `memory` (nothing is kept).

**`--json`** prints exactly one JSON document on stdout: of a session its summary (below), of a `db` listing one array
of objects whose keys are the view's columns, of `verify` `{identical, first_difference}`, of `db check`
`{ok, checks: [{name, ok, detail}]}`, of `config check` `{ok, config_hash, capital, warnings}`, of `config show`
`{config_hash, config}`, of `report` the document of
[report.md](report.md), of `doctor` `{ok, checks: [{name, ok, fatal, detail}]}`, of `lab controller`
and `lab hope` the card of what was trained. Logs and progress go to stderr; with `TRADER_LOGS=json` in the environment
every log line is a JSON object.

**Run summary**: `run, status, feed, seed, config_hash, candles, decisions, orders, trades, agents, generations,
equity_start, equity_end, max_drawdown, wall_s, agent_candles_per_s, digest, db`. Amounts are decimal strings made from
the integers, all other figures numbers.

**`--set KEY=VALUE`** replaces a key of the config: the key is dotted, the value is TOML and replaces the key, tables
whole; a bare word is a string: `--set session.seed=3 --set exchange.market_type=spot`.

**RUN** is a run's number, its name, or `latest`. **Times** are ISO (`2021-05-19`, `2021-05-19T12:00:00Z`) or ms, UTC.
"""

CONFIG_HEAD: Final = """# Config

TOML. `trader config init` writes a file with every key, `trader config check` validates one, `trader config show` shows
the effective one and its hash. This page is written from the program by `make docs`.

Unknown keys are refused with a suggestion. Only `feed.kind` is required. Keys for credentials do not exist and are
refused: the platform cannot place a real order.

The **config hash** stands for everything that can change a result; keys marked *(not in the hash)* cannot.
"""


def commands_page() -> str:
    """Every command with its arguments and options."""
    from typer.main import get_command

    from trader.cli.app import app

    return COMMANDS_HEAD + "".join(_commands(get_command(app), "trader"))


def _commands(command: Any, path: str) -> Iterator[str]:
    for name, inner in getattr(command, "commands", {}).items():
        yield from _commands(inner, f"{path} {name}")
    if hasattr(command, "commands"):
        return
    arguments = [_argument(parameter) for parameter in command.params if parameter.param_type_name == "argument"]
    yield f"\n## `{' '.join([path, *arguments])}`\n\n{' '.join((command.help or '').split())}\n\n"
    for parameter in command.params:
        if parameter.param_type_name == "option" and parameter.name != "help":
            metavar = "" if parameter.is_flag else f" {parameter.metavar or 'VALUE'}"
            default = _default(parameter)
            spelled = "/".join([parameter.opts[0], *parameter.secondary_opts])
            yield f"- `{spelled}{metavar}`: {parameter.help}{default}\n"


def _argument(parameter: Any) -> str:
    name = str(parameter.metavar or parameter.name).strip("[]")
    return name if parameter.required else f"[{name}]"


def _default(parameter: Any) -> str:
    if parameter.is_flag or parameter.default in (None, (), []) or callable(parameter.default) or parameter.required:
        return ""
    return f" Default: `{parameter.default}`."


def config_page() -> str:
    """Every table and key with its meaning and default."""
    tree = as_dict(load(None, ["feed.kind=synthetic", "engine.threads=1"]))
    return CONFIG_HEAD + "".join(_tables(Config, tree, ()))


def _tables(model: type[BaseModel], tree: dict[str, Any], above: tuple[str, ...]) -> Iterator[str]:
    keys = [name for name in model.model_fields if section(model, (name,)) is None]
    if keys:
        yield f"\n## `[{'.'.join(above)}]`\n\n{' '.join((model.__doc__ or '').split())}\n\n"
        yield "| key | default | meaning |\n|---|---|---|\n"
    for name in keys:
        field = model.model_fields[name]
        extra = field.json_schema_extra
        notes = [" *(not in the hash)*"] if isinstance(extra, dict) and extra.get("outside_hash") else []
        meaning = f"{field.description}{''.join(notes)}"
        yield f"| `{'.'.join((*above, name))}` | {_shown_default(field, tree[name])} | {meaning} |\n"
    for name in model.model_fields:
        inner = section(model, (name,))
        if inner is not None:
            yield from _tables(inner, tree[name], (*above, name))


def _shown_default(field: Any, value: object) -> str:
    from trader.cli.config_text import toml_value

    if field.is_required():
        return "required"
    if field.default_factory is not None:
        return "measured"
    return "none" if value is None else f"`{toml_value(value)}`"


PAGES: Final = {"commands.md": commands_page, "config.md": config_page}


def main(folder: Path) -> None:
    """Write the pages into `folder`."""
    for name, page in PAGES.items():
        (folder / name).write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
