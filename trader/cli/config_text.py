"""Configs as TOML text: the effective one, and a commented one with every key, its meaning and its default.

Both come from the config tree itself, so no key can be forgotten; what they print reads back to the same tree.
"""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any, Final

from pydantic import BaseModel

from trader.core.config import Config, as_dict, load
from trader.core.config_file import section
from trader.core.errors import UserError

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def toml_text(tree: Mapping[str, Any], above: str = "") -> str:
    """Nested tables as TOML; None is left out (TOML has none), a table of plain values stands inline."""
    inline = [name for name, value in tree.items() if _plain(value) and (above or not isinstance(value, Mapping))]
    lines = [f"{_key(name)} = {toml_value(tree[name])}" for name in inline]
    text = f"[{above}]\n" if above and (lines or not tree) else ""
    text += "".join(line + "\n" for line in lines) + ("\n" if lines else "")
    for name, value in tree.items():
        if isinstance(value, Mapping) and name not in inline:
            text += toml_text(value, f"{above}.{_key(name)}" if above else _key(name))
    return text


def commented_config(kind: str) -> str:
    """A config file in which every key stands under its meaning, commented out with its default.

    Taking the `# ` away from every line that has a key gives the same config again (`EXAMPLES` apart).

    Raises:
        UserError: `kind` is no feed.
    """
    given: dict[str, object] = {"feed.kind": kind}
    if kind == "live":  # the one feed that cannot find its markets itself
        given |= {"feed.symbols": ["BTC/USDT"], "feed.base_timeframe": "1m"}
    config = load(None, [], given)
    return HEAD.format(kind=kind) + "\n".join(_commented(Config, as_dict(config), ())) + "\n"


HEAD: Final = """# A config of nested-trader: {kind} feed. Every key stands here under its meaning, with its default.
# To change one, take the '# ' before the key away and write another value; what stays commented keeps its default.
# Keys marked (example) are not set by default. Check with: trader config check FILE
"""

EXAMPLES: Final = {
    "session.name": "my-first",
    "session.candles": 4000,
    "feed.symbols": ["BTC/USDT", "ETH/USDT"],
    "feed.signals": "signals.csv#sha256=" + "0" * 64,
    "feed.start": "2022-01-01",
    "feed.end": "2023-01-01",
    "feed.warmup": 1000,
    "exchange.instruments": "instruments.json",
    "exchange.tiers": "tiers.json",
    "population.archetypes": ["trend", "momentum"],
    "evaluation.block": 5.0,
    "monitor.metrics_file": "metrics.prom",
    "monitor.metrics_port": 9464,
    "monitor.webhook": "https://example.org/hook",
    "store.url": "sqlite:///data/runs/mine.db",
}
"""What may stand at a key that has no default."""

LIVE_KEYS: Final = {"symbols", "base_timeframe", "timeframes"}
"""Keys of `[feed]` that a live config tells itself."""

_WIDTH: Final = 110


def _commented(model: type[BaseModel], tree: Mapping[str, Any], above: tuple[str, ...]) -> Iterator[str]:
    """Lines of a table and of the tables in it: each key under its meaning."""
    tables = []
    if above not in ((), ("levels",)):
        yield ""
        yield from _meaning(model.__doc__ or "")
        yield f"[{'.'.join(above)}]"
    for name, field in model.model_fields.items():
        inner = section(model, (name,))
        if inner is not None and above in ((), ("levels",)):
            tables.append((inner, name))
            continue
        yield from _meaning(field.description or "")
        for key, part in inner.model_fields.items() if inner else ():
            yield from _meaning(f"{key}: {part.description}")
        yield _key_line(
            name,
            tree[name],
            EXAMPLES.get(".".join((*above, name))),
            required=field.is_required() or (tree.get("kind") == "live" and name in LIVE_KEYS),
        )
    for inner, name in tables:
        yield from _commented(inner, tree[name], (*above, name))


def _meaning(text: str) -> list[str]:
    """Comment lines; indented, so that they do not look like keys."""
    return textwrap.wrap(" ".join(text.split()), _WIDTH, initial_indent="#   ", subsequent_indent="#   ")


def _key_line(name: str, value: object, example: object, *, required: bool) -> str:
    """The line of one key."""
    if required:
        return f"{name} = {toml_value(value)}"
    if value is not None:
        return f"# {name} = {toml_value(value)}"
    return f"# {name} = {toml_value('...' if example is None else example)}  # (example)"


def _plain(value: object) -> bool:
    if value is None:
        return False
    return not isinstance(value, Mapping) or all(
        not isinstance(inner, Mapping) and inner is not None for inner in value.values()
    )


def _key(name: str) -> str:
    return name if _BARE.fullmatch(name) else json.dumps(name)


def toml_value(value: object) -> str:
    """One value as TOML."""
    if isinstance(value, Mapping):
        inner = ", ".join(f"{_key(name)} = {toml_value(item)}" for name, item in value.items())
        return f"{{ {inner} }}" if inner else "{}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(toml_value(item) for item in value) + "]"
    if isinstance(value, (bool, int, float, str)):
        return json.dumps(value, ensure_ascii=False)
    raise UserError(f"{value!r} has no form in TOML")
