"""`trader lab`: train what ships, judge what was stored. Every verb imports its library when it runs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from trader.cli import options
from trader.cli.output import write_json, write_rows

app = typer.Typer(rich_markup_mode=None, help="Train the weights that ship; judge what runs have stored.")

Seed = Annotated[int, typer.Option(metavar="N", min=0, help="Everything that is drawn follows from it.")]
Validation = Annotated[int, typer.Option(metavar="N", min=2, help="Held-out training runs it is judged on.")]
MakeJob = Annotated[
    str, typer.Option("--make-job", metavar="NAME", help="What is trained on: package.module:function of a seed.")
]
Write = Annotated[
    Literal["kalman", "delta"], typer.Option(metavar="NAME", help="Rule of the fast weights: kalman or delta.")
]
Checkpoint = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Written after every generation; continued from if it is there.",
                 show_default=False),
]  # fmt: skip


@app.command()
def controller(
    out: Annotated[Path, typer.Option(metavar="FILE", help="Where the weights go, with their card.")] = Path(
        "controller.json"
    ),
    seed: Seed = 0,
    generations: Annotated[int, typer.Option(metavar="N", min=1, help="Steps of the evolution strategy.")] = 12,
    pairs: Annotated[int, typer.Option(metavar="N", min=1, help="Mirrored candidates in a generation.")] = 8,
    jobs: Annotated[int, typer.Option(metavar="N", min=1, help="Training runs per candidate.")] = 2,
    validation: Validation = 24,
    make_job: MakeJob = "rl.optim.trading_jobs:trading_job",
    checkpoint: Checkpoint = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Train the starting weights of the nested optimizer's controller on whole runs in the trading environments."""
    from trader.lab.controller import train_controller

    settings = {"seed": seed, "generations": generations, "pairs": pairs, "jobs": jobs, "make_job": make_job}
    log = _silent if quiet else _progress
    card = train_controller(settings, validation, out, checkpoint, log)
    if as_json:
        write_json({"file": out, **{name: value for name, value in card.items() if name != "phi"}})
    elif not quiet:
        typer.echo(f"{out}: {len(card['phi'])} numbers, sha256 {card['sha256']}")


@app.command()
def hope(
    out: Annotated[Path, typer.Option(metavar="FILE", help="Where the weights go, with their card.")] = Path(
        "hope.npz"
    ),
    seed: Seed = 0,
    backbone: Annotated[
        Literal["attention", "gru"], typer.Option(metavar="NAME", help="attention or gru.")
    ] = "attention",
    modifier: Annotated[Literal["mlp", "lstm"], typer.Option(metavar="NAME", help="mlp or lstm.")] = "mlp",
    write: Write = "kalman",
    width: Annotated[int, typer.Option(metavar="N", min=8, help="Width of the sequence model.")] = 64,
    steps: Annotated[int, typer.Option(metavar="N", min=1, help="Outer steps on the frozen prediction.")] = 1000,
    fast_steps: Annotated[int, typer.Option(metavar="N", min=1, help="Outer steps through the fast weights.")] = 100,
    trigger_streams: Annotated[
        int, typer.Option(metavar="N", min=4, help="Streams that the trigger's counterfactuals come from.")
    ] = 120,
    trigger_bars: Annotated[int, typer.Option(metavar="N", min=700, help="Bars of each of them.")] = 2000,
    candles: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="Parquet of real candles to mix in; repeatable.", show_default=False),
    ] = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Train HOPE: prediction, then fast weights, then the trigger, on synthetic regime markets."""
    from trader.lab.hope import train_hope

    numbers = {
        "--seed": seed, "--width": width, "--steps": steps, "--fast-steps": fast_steps,
        "--trigger-streams": trigger_streams, "--trigger-bars": trigger_bars,
    }  # fmt: skip
    words = {"--backbone": backbone, "--modifier": modifier, "--write": write, **numbers}
    card = train_hope([str(part) for pair in words.items() for part in pair], candles or [], out)
    if as_json:
        write_json({"file": out, **card})
    elif not quiet:
        typer.echo(f"{out}: trained, {card['command']}")


@app.command()
def bandit(
    run: options.LatestRun = "latest",
    newest: Annotated[int, typer.Option(metavar="N", min=0, help="Newest tickets that are judged; 0: all.")] = 20_000,
    db: options.Database = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Judge other bandits by the tickets a run has stored: what would they have earned?"""
    from trader.lab.bandit import COLUMNS, judge
    from trader.store.columns import read_columns
    from trader.store.store import open_store, persistent

    with open_store(options.database_url(db), create=False, read_only=True) as store:
        kept = persistent(store)
        row = kept.resolve(run)
        lines = judge(read_columns(kept, "v_bandit", row.run, COLUMNS), newest)
    if as_json:
        write_json({"run": row.run, "estimates": lines})
    elif not quiet:
        write_rows(("parameter", "policy", "tickets", "logged", "ips", "snips", "doubly robust"), [
            (line["parameter"], line["policy"], line["tickets"], f"{line['logged']:.4f}",
             *(_estimate(line[name]) for name in ("ips", "snips", "doubly_robust")))
            for line in lines
        ], as_json=False)  # fmt: skip


def _estimate(found: dict[str, float] | None) -> str:
    return "-" if found is None else f"{found['value']:.4f} ± {found['standard_error']:.4f}"


def _progress(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


def _silent(line: str) -> None:
    """Nothing: `--quiet`."""
