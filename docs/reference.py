"""Write the reference of the command line, docs/cli.md, from the commands themselves: `python docs/reference.py`.

With `-` it goes to standard output: the tests compare it with what is there.
"""

from __future__ import annotations

import enum
import inspect
import sys
import types
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pfa_flux.cli import app
from pfa_flux.cli.options import with_settings

_HEAD = """\
# The command line

Made by `python docs/reference.py` from the commands themselves; a test compares the two.

Data goes to standard output, everything else to standard error. `NO_COLOR` and pipes are honoured. Values of
`--start` and `--stop` are RFC 3339 with an offset, or a duration back from now: `90m`, `24h`, `7d`, `4w`.

| exit code | |
|--:|---|
| 0 | done |
| 1 | failed: the message says what, and what to do |
| 2 | usage, or a malformed value |
| 3 | no data |
| 4 | the engine cannot be reached, refuses access, or does not answer in time |
| 5 | there is something to do: `task plan`, `status`, `gaps`, `verify`, `quarantine` |
"""
_SHARED_HEAD = """\
## Options that commands share

All commands but `init` take these, and each but `--config` and `--quiet` is a [setting](settings.md), too.
"""


def options_of(command: Callable[..., Any]) -> list[inspect.Parameter]:
    """Options of a command: its parameters, as typer reads them."""
    return list(inspect.signature(command, eval_str=True).parameters.values())


def shared_options() -> list[inspect.Parameter]:
    """Options that `with_settings` gives to a command."""

    @with_settings
    def nothing(*, settings: object, quiet: bool) -> None:
        """Have no options of its own."""

    return options_of(nothing)


def values_of(kind: Any) -> str:
    """What an option takes: the members of an enumeration, or a kind; nothing of a flag."""
    given = [each for each in typing.get_args(kind) if each is not types.NoneType]
    if given:
        return values_of(given[0])
    if kind is bool:
        return ""
    if issubclass(kind, enum.Enum):
        return " \\| ".join(f"`{member.value}`" for member in kind)
    return {int: "NUMBER", Path: "FILE"}.get(kind, "TEXT")


def row(option: inspect.Parameter) -> str:
    """Line of an option in its table."""
    kind, info = typing.get_args(option.annotation)[:2]
    # In Annotated the first of the names stands where typer has a default otherwise.
    names = [name for name in (info.default, *(info.param_decls or ())) if isinstance(name, str)]
    names = names or [f"--{option.name.replace('_', '-')}"]
    shown = f"{', '.join(f'`{name}`' for name in names)} {values_of(kind)}".rstrip()
    return f"| {shown} | {info.help} | {default_of(option, info.show_default)} |"


def default_of(option: inspect.Parameter, said: bool | str) -> str:
    """What holds where the option is not given."""
    if option.default is inspect.Parameter.empty:
        return "has to be given"
    if isinstance(said, str):
        return said
    value = getattr(option.default, "value", option.default)
    return f"`{value}`" if said and value not in (None, "", False) else ""


def table(options: list[inspect.Parameter]) -> str:
    """Options as a table."""
    return "\n".join(["| option | | default |", "|---|---|---|", *map(row, options), ""])


def commands() -> Iterator[tuple[str, Callable[..., Any]]]:
    """Every command with its whole name."""
    groups = [("", app), *((f"{group.name} ", group.typer_instance) for group in app.registered_groups)]
    for prefix, group in groups:
        assert group is not None
        for each in group.registered_commands:
            assert each.callback is not None
            yield f"pfa-flux {prefix}{each.name or each.callback.__name__}", each.callback


def reference() -> str:
    """The whole page."""
    shared = shared_options()
    names = {option.name for option in shared}
    parts = [_HEAD, _SHARED_HEAD, table(shared)]
    for name, command in commands():
        options = options_of(command)
        own = [option for option in options if option.name not in names or names - {each.name for each in options}]
        parts.append(f"## {name}\n\n{str(inspect.getdoc(command)).replace('<', '&lt;')}\n")
        if own:
            parts.append(table(own))
    return "\n".join(parts)


def main() -> None:
    """Run the command line."""
    if sys.argv[1:] == ["-"]:
        sys.stdout.write(reference())
    else:
        (Path(__file__).parent / "cli.md").write_text(reference())


if __name__ == "__main__":
    main()
