"""From a TOML file and `--set key=value` to a checked tree, or to one line that says what is wrong and where.

The line reads `file: key: rule` (`--set: key: rule` where the value came from the command line). Unknown keys get a
suggestion; keys that look like credentials are refused before anything else, because this platform cannot place a real
order and a config that carries a key is a mistake worth stopping at.
"""

from __future__ import annotations

import codecs
import difflib
import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from trader.core.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

LARGEST_FILE: Final = 1_000_000
"""Bytes of a config file; the shipped ones have a thousandth of it."""
LONGEST_KEY: Final = 120
"""Characters of a key that a message shows."""
DEEPEST: Final = 20
"""Tables within each other; the tree has three."""

_CREDENTIAL = re.compile(r"secret|apikey|passw|passphrase|privatekey|token|credential|walletaddress|mnemonic|twofa")
_CREDENTIAL_WORDS = frozenset({"uid", "login", "key", "auth", "authorization"})
_BARE_WORD = re.compile(r"[^\s\"'\[\]{},=#][^\s\"'\[\]{}#]*")

Tree = TypeVar("Tree", bound=BaseModel)
Table = dict[str, Any]
Key = tuple[str, ...]


def read(model: type[Tree], path: Path | str | None, sets: Sequence[str], overrides: Mapping[str, object]) -> Tree:
    """Read `path` (nothing if None), put `sets` and then `overrides` (dotted key to value) over it, and check the tree.

    Raises:
        UserError: one line `file: key: rule`.
    """
    table = {} if path is None else read_toml(Path(path))
    origins: dict[Key, str] = {}
    for text in sets:
        key, value = parse_set(text)
        _place(table, origins, key, value, "--set")
    for dotted, value in overrides.items():
        key = tuple(dotted.split("."))
        _place(table, origins, key, value, "command line")
    return check(model, table, "config" if path is None else str(path), origins)


def read_toml(path: Path) -> Table:
    """The tables of a TOML file.

    Raises:
        UserError: there is no such file, it is too large, not UTF-8 or not TOML.
    """
    try:
        # no more than needed to know: a device or a pipe has no size to ask for
        with path.open("rb") as file:
            content = file.read(LARGEST_FILE + 1)
        if len(content) > LARGEST_FILE:
            raise UserError(f"{path}: larger than {LARGEST_FILE} bytes: that is no config")
        if content.startswith(codecs.BOM_UTF8):
            raise UserError(f"{path}: begins with a byte order mark: save it as UTF-8 without one")
        return tomllib.loads(content.decode("utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file (`trader config init` writes one)") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text (byte {error.start})") from None
    except RecursionError:
        raise UserError(f"{path}: not a config: nested too deeply") from None
    except ValueError as error:
        raise UserError(f"{path}: not TOML: {_one_line(error)}") from None


def parse_set(text: str) -> tuple[Key, Any]:
    """`dotted.key=value` as path and value; the value is TOML, and a bare word is a string.

    Raises:
        UserError: no `=`, or a key or a value that is not TOML.
    """
    dotted, equals, value = text.partition("=")
    if not equals or "\n" in dotted:
        raise UserError(f"--set: {_quote(text)}: write dotted.key=value")
    try:
        nested: Any = tomllib.loads(f"{dotted} = 0")
        key = []
        while isinstance(nested, dict):
            (name,) = nested
            key.append(name)
            nested = nested[name]
    except (ValueError, RecursionError):
        raise UserError(f"--set: {_quote(dotted)}: not a dotted key") from None
    return tuple(key), _set_value(dotted.strip(), value.strip())


def _set_value(dotted: str, value: str) -> Any:
    try:
        table = tomllib.loads(f"value = {value}")
    except (ValueError, RecursionError):
        if _BARE_WORD.fullmatch(value):
            return value
        raise UserError(f"--set: {dotted}: {_quote(value)} is no TOML value and no bare word") from None
    if set(table) != {"value"}:
        raise UserError(f"--set: {dotted}: one value, not several lines of TOML")
    return table["value"]


def _place(table: Table, origins: dict[Key, str], key: Key, value: object, origin: str) -> None:
    for depth, name in enumerate(key[:-1]):
        inner = table.setdefault(name, {})
        if not isinstance(inner, dict):
            raise UserError(f"{origin}: {'.'.join(key)}: {'.'.join(key[: depth + 1])} is no table")
        table = inner
    table[key[-1]] = value
    for replaced in [path for path in origins if path[: len(key)] == key]:
        del origins[replaced]
    origins[key] = origin


def check(model: type[Tree], table: Table, source: str, origins: Mapping[Key, str]) -> Tree:
    """The checked tree.

    Raises:
        UserError: the first broken rule, as one line; how many more there are stands at its end.
    """
    for key in _keys(table, source):
        word = re.sub(r"[\W_]", "", key[-1]).lower()
        if _CREDENTIAL.search(word) or word in _CREDENTIAL_WORDS:
            rule = "credentials are refused: no order ever leaves this platform"
            raise UserError(f"{_origin(key, source, origins)}: {_dotted(key)}: {rule}")
    try:
        return model.model_validate(table)
    except ValidationError as error:
        problems = error.errors(include_url=False)
        # an unknown key is the likelier cause of whatever else is wrong
        first = min(problems, key=lambda problem: problem["type"] != "extra_forbidden")
        key = tuple(str(part) for part in first["loc"])
        if first["type"] == "missing":
            key = _missing_key(model, key)
        dotted = _dotted(key)
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        rule = _rule(model, key, first)
        where = f"{_origin(key, source, origins)}: " + (f"{dotted}: " if dotted else "")
        raise UserError(_one_line(where + rule + more)) from None


def _keys(table: Table, source: str, above: Key = ()) -> Iterator[Key]:
    if len(above) > DEEPEST:
        raise UserError(f"{source}: nested too deeply: more than {DEEPEST} tables within each other")
    for name, value in table.items():
        yield (*above, name)
        for inner in value if isinstance(value, list) else [value]:
            if isinstance(inner, dict):
                yield from _keys(inner, source, (*above, name))


def _missing_key(model: type[BaseModel], key: Key) -> Key:
    """Where a whole table is missing, the key in it that is required."""
    while inner := section(model, key):
        required = [name for name, field in inner.model_fields.items() if field.is_required()]
        if not key or not required:
            break
        key = (*key, required[0])
    return key


def _origin(key: Key, source: str, origins: Mapping[Key, str]) -> str:
    for depth in range(len(key), 0, -1):
        if key[:depth] in origins:
            return origins[key[:depth]]
    below = [origin for path, origin in origins.items() if path[: len(key)] == key]
    return below[0] if below else source


def _rule(model: type[BaseModel], key: Key, problem: Any) -> str:
    """The broken rule in words."""
    kind = problem["type"]
    if kind == "extra_forbidden":
        return "unknown key" + _suggestion(model, key)
    if kind == "missing":
        choices = _choices(model, key)
        return "required" + (f": one of {', '.join(choices)}" if choices else "")
    if kind == "too_short":
        return f"needs at least {problem['ctx']['min_length']}"
    if kind in ("model_type", "dict_type"):
        return f"is a table, not {_quote(problem['input'])}"
    if kind in ("value_error", "assertion_error"):
        return str(problem["ctx"]["error"])
    message = str(problem["msg"])
    message = message[0].lower() + message[1:]
    value = problem["input"]
    if isinstance(value, (bool, int, float, str)):
        message += f", not {_quote(value)}"
        if kind == "literal_error" and (close := difflib.get_close_matches(str(value), _choices(model, key), 1)):
            message += f"; did you mean {close[0]!r}?"
    return message


def _suggestion(model: type[BaseModel], key: Key) -> str:
    """The nearest key of the same table, else the same or a near name in another table."""
    parent = section(model, key[:-1])
    siblings = list(parent.model_fields) if parent else []
    candidates = {dotted: dotted.rpartition(".")[2] for dotted in dotted_keys(model)}
    candidates |= {".".join((*key[:-1], name)): name for name in siblings}

    def nearness(dotted: str) -> float:
        likeness = difflib.SequenceMatcher(None, candidates[dotted], key[-1]).ratio()
        return likeness + (0.15 if dotted.rpartition(".")[0] == ".".join(key[:-1]) else 0.0)

    best = max(candidates, key=nearness)
    if nearness(best) > 0.75:
        return f"; did you mean {best}?"
    return f"; known here: {', '.join(siblings)}" if siblings else ""


def section(model: type[BaseModel], key: Key) -> type[BaseModel] | None:
    """The class of the table at `key`; None if there is no such table."""
    here: type[BaseModel] | None = model
    for name in key:
        field = here.model_fields.get(name) if here else None
        annotation = field.annotation if field else None
        here = annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None
    return here


def dotted_keys(model: type[BaseModel], above: str = "") -> Iterator[str]:
    """Every key of the tree that is no table, dotted, in order."""
    for name in model.model_fields:
        inner = section(model, (name,))
        if inner is None:
            yield above + name
        else:
            yield from dotted_keys(inner, f"{above}{name}.")


def _choices(model: type[BaseModel], key: Key) -> list[str]:
    parent = section(model, key[:-1]) if key else None
    if parent is None or key[-1] not in parent.model_fields:
        return []
    return [choice for choice in get_args(parent.model_fields[key[-1]].annotation) if isinstance(choice, str)]


def _quote(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _dotted(key: Key) -> str:
    """The key as people write it; of an endless one as much as tells which it is."""
    text = ".".join(key)
    return text if len(text) <= LONGEST_KEY else text[: LONGEST_KEY - 3] + "..."


def _one_line(text: object) -> str:
    return " ".join(str(text).split())
