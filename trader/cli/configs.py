"""`trader config`: a commented config to begin with, validation, the effective config and its hash, the JSON schema."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from trader.cli import options
from trader.cli.output import write_json
from trader.core.errors import UserError

app = typer.Typer(rich_markup_mode=None, help="Write, check and show configs.")

NewFile = Annotated[Path, typer.Argument(metavar="FILE", help="File to write; '-' is stdout.")]
Kind = Annotated[str, typer.Option(metavar="KIND", help="Feed of the new config: synthetic, replay or live.")]


@app.command()
def init(file: NewFile = Path("config.toml"), kind: Kind = "synthetic") -> None:
    """Write a config in which every key stands with its meaning and its default."""
    from trader.cli.config_text import commented_config

    text = commented_config(kind)
    if str(file) == "-":
        typer.echo(text, nl=False)
        return
    try:
        with file.open("x", encoding="utf-8") as stream:
            stream.write(text)
    except FileExistsError:
        raise UserError(f"{file}: exists already: name another file") from None
    except OSError as error:
        raise UserError(f"{file}: cannot be written: {error.strerror}") from None
    typer.echo(f"{file}: written; edit it, then: trader config check {file}")


@app.command()
def check(config: options.ConfigFile, sets: options.Sets = None, as_json: options.Json = False) -> None:
    """Validate a config and tell the smallest capital with which it can trade."""
    from trader.cli.capital import capital_report
    from trader.core.config import config_hash, load

    tree = load(config, list(sets or ()))
    report = capital_report(tree)
    warnings = [line.warning for line in report if line.warning]
    if as_json:
        capital = [{"symbol": line.symbol, "smallest_capital": line.told, "detail": line.detail} for line in report]
        write_json({"ok": True, "config_hash": config_hash(tree), "capital": capital, "warnings": warnings})
        return
    typer.echo(f"{config}: ok, config hash {config_hash(tree)[:16]}")
    for line in report:
        typer.echo(f"  {line.symbol:<16}smallest capital {line.told:>16} {tree.pool.currency}  {line.detail}")
    for warning in warnings:
        typer.echo(f"warning: {warning}", err=True)


@app.command()
def show(config: options.ConfigFile, sets: options.Sets = None, as_json: options.Json = False) -> None:
    """Show the effective config (file, --set and defaults) and its hash."""
    from trader.cli.config_text import toml_text
    from trader.core.config import as_dict, config_hash, load

    tree = load(config, list(sets or ()))
    if as_json:
        shown: dict[str, Any] = {"config_hash": config_hash(tree), "config": as_dict(tree)}
        write_json(shown)
    else:
        typer.echo(f"# config hash {config_hash(tree)}\n{toml_text(as_dict(tree))}", nl=False)


@app.command()
def schema(as_json: options.Json = False) -> None:
    """Print the JSON schema of the config (JSON with or without --json; without it, indented)."""
    from trader.core.config import json_schema

    typer.echo(json.dumps(json_schema(), indent=None if as_json else 2))
