"""Configs as TOML text: the effective one, and a commented one with every key, its meaning and its default.

Both come from the config tree itself, so no key can be forgotten; what they print reads back to the same tree.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

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
    """A config file in which every key stands, commented out where its default is meant.

    Raises:
        UserError: `kind` is no feed.
    """
    given: dict[str, object] = {"feed.kind": kind}
    if kind == "live":  # the one feed that cannot find its markets itself
        given |= {"feed.symbols": ["BTC/USDT"], "feed.base_timeframe": "1m"}
    config = load(None, [], given)
    head = (
        "# Every key with its meaning and its default. A line that begins with '# ' and a key is the default;\n"
        "# take the '# ' away to change it.\n"
    )
    return head + "\n".join(_commented(Config, as_dict(config), ())) + "\n"


def _commented(model: type[BaseModel], tree: Mapping[str, Any], above: tuple[str, ...]) -> Iterator[str]:
    tables = []
    if above not in ((), ("levels",)):
        yield ""
        yield f"[{'.'.join(above)}]"
    for name, field in model.model_fields.items():
        inner = section(model, (name,))
        if inner is not None and above in ((), ("levels",)):
            tables.append((inner, name))
            continue
        meaning = field.description or ""
        if field.is_required() or (tree.get("kind") == "live" and name in {"symbols", "base_timeframe", "timeframes"}):
            yield f"{name} = {toml_value(tree[name])}  # {meaning}"
            continue
        value = "" if tree[name] is None else toml_value(tree[name])
        yield f"# {name} = {value}  # {meaning}"
    for inner, name in tables:
        yield from _commented(inner, tree[name], (*above, name))


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
