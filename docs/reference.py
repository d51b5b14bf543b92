"""Write the reference from the code: `python docs/reference.py`.

The commands go to docs/cli.md and, as a man page, to docs/pfa-flux.1, the metrics to docs/metrics.md, the warnings to
docs/warnings.md. With --check they are only compared with what is there.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pfa_flux
from pfa_flux.cli import app
from pfa_flux.cli.help import kind_name
from pfa_flux.cli.options import with_settings
from pfa_flux.pixel.hit import Reason
from pfa_flux.schema import Side
from pfa_flux.serve.admin import metrics

_HEAD = """\
# The command line

Made by `python docs/reference.py` from the commands themselves; a test compares the two.

Data goes to standard output, everything else to standard error. `NO_COLOR` and pipes are honoured. `--start` and
`--stop` take a date, a month, a time, `today`, `yesterday`, `now`, or a duration back from now such as `24h`, `7d` or
`3mo` ([all forms](number.md#what-you-can-ask-for)).

Without a command, `pfa-flux` prints the answer for the last seven days in one sentence. If there are no settings and no
data, it prints the help and exits with 2.

| exit code | |
|--:|---|
| 0 | done |
| 1 | failed: the message says what, and what to do |
| 2 | usage, or a malformed value |
| 3 | no data |
| 4 | the engine cannot be reached, refuses access, or does not answer in time |
| 5 | there is something to do: `task plan`, `status`, `gaps`, `verify`, `quarantine`, `copy` |
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
    """What an option takes, in Markdown."""
    return " \\| ".join(f"`{name}`" if "|" in kind_name(kind) else name for name in kind_name(kind).split("|"))


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


def manual() -> str:
    """The same as a man page: https://man7.org/linux/man-pages/man7/man.7.html."""
    shared = shared_options()
    names = {option.name for option in shared}
    lines = [_MANUAL_HEAD, ".SH OPTIONS THAT COMMANDS SHARE", *map(_item, shared), ".SH COMMANDS"]
    for name, command in commands():
        options = options_of(command)
        own = [option for option in options if option.name not in names or names - {each.name for each in options}]
        lines += [f".SS {_roff(name)}", *_paragraphs(str(inspect.getdoc(command))), *map(_item, own)]
    return "\n".join([*lines, _MANUAL_END])


def _item(option: inspect.Parameter) -> str:
    _, names, words, default, _ = row(option).replace("\\|", "\0").split("|")
    told = words.strip() + (f" Default: {default.strip()}." if default.strip() else "")
    return f".TP\n.B {_roff(names.strip())}\n{_roff(told)}"


def _paragraphs(text: str) -> list[str]:
    return [line for part in text.split("\n\n") for line in (".PP", _roff(" ".join(part.split())))]


def _roff(text: str) -> str:
    text = text.replace("`", "").replace("\0", "|").replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{text}" if text.startswith((".", "'")) else text


_MANUAL_HEAD = r""".\" Made by docs/reference.py.
.TH PFA\-FLUX 1 "" pfa\-flux "User Commands"
.SH NAME
pfa\-flux \- share of page views that come without the JavaScript analytics
.SH SYNOPSIS
.B pfa\-flux
.I COMMAND
.RI [ OPTIONS ]
.SH DESCRIPTION
A pixel counts every page view, the JavaScript analytics counts those that run its script, and pfa\-flux subtracts the
one from the other: by site, network (clearnet, Tor, I2P), page and time, on InfluxDB 1.8 and 2.x or with no server at
all. Nothing is stored of a visitor.
.PP
Data goes to standard output, everything else to standard error. Values of \-\-start and \-\-stop are RFC 3339 with an
offset, or a duration back from now: 90m, 24h, 7d, 4w."""
_MANUAL_END = r""".SH EXIT STATUS
.TP
.B 0
Done.
.TP
.B 1
Failed: the message says what, and what to do.
.TP
.B 2
Usage, or a malformed value.
.TP
.B 3
No data.
.TP
.B 4
The engine cannot be reached, refuses access, or does not answer in time.
.TP
.B 5
There is something to do.
.SH FILES
.TP
.I /etc/pfa\-flux/pfa\-flux.toml, ~/.config/pfa\-flux/pfa\-flux.toml, ./pfa\-flux.toml
Settings. The first that exists is read, beginning with the last of these.
.SH SEE ALSO
.BR influxd (1),
.BR nginx (8)
"""


_METRICS_HEAD = """\
# Metrics

Made by `python docs/reference.py` from what `/metrics` answers; a test compares the two.

`pfa-flux serve` answers `/metrics` for Prometheus, by default at `127.0.0.1:8481`. [Watch it](monitoring.md) shows how
to read it, and has alerts. No metric names a domain, a page or a visitor. Counters start at zero with each start of
the pixel.
"""
_SHIPPING_HEAD = """\
## If hits are shipped to InfluxDB

These metrics exist only if `url` is set.
"""
_LABELS = {"status": "the HTTP status", "task": "the name of the background task"}
"""Labels whose values are not a short list."""


class Everything(SimpleNamespace):
    """A pixel at zero, with each value that a label can have."""

    def __getattr__(self, name: str) -> Any:
        return Everything()

    def __sub__(self, other: object) -> int:
        return 0

    def __round__(self, digits: int) -> int:
        return 0

    def __len__(self) -> int:
        return 0

    def __call__(self, *_given: object) -> int:
        """Any method."""
        return 0


def described(*, ships: bool) -> list[tuple[str, str, str, dict[str, list[str]]]]:
    """Name, type, help, and values by label of each metric."""
    pixel = Everything(
        counted={"hit": 0, "load": 0},
        rejected=dict.fromkeys(Reason, 0),
        refused_requests={400: 0},
    )
    upkeep = {side.value: {"at": 0, "mended": 0, "kept": 0} for side in Side}
    journal = Everything(ships=ships, trouble="")
    state = Everything(pixel=pixel, journal=journal, upkeep=upkeep, failures={"tick": 0}, shipped={}, started=0, lag=0)
    text = metrics(typing.cast("Any", state))
    found = re.findall(r"^# HELP (\S+) (.*)\n# TYPE \S+ (\S+)\n((?:(?!#).*\n)*)", text, re.MULTILINE)
    return [(name, kind, words, _labels(samples)) for name, words, kind, samples in found]


def _labels(samples: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for label, value in re.findall(r'(\w+)="([^"]*)"', samples):
        found.setdefault(label, []).append(value)
    return found


def metrics_page() -> str:
    """Every metric."""
    always = described(ships=False)
    shipping = [each for each in described(ships=True) if each not in always]
    return "\n".join([_METRICS_HEAD, _metrics_table(always), "", _SHIPPING_HEAD, _metrics_table(shipping), ""])


def _metrics_table(found: list[tuple[str, str, str, dict[str, list[str]]]]) -> str:
    rows = ["| metric | type and meaning |", "|---|---|"]
    for name, kind, words, labels in found:
        said = "".join(
            f" Label `{label}`: {_LABELS.get(label) or ', '.join(f'`{each}`' for each in values)}."
            for label, values in labels.items()
        )
        rows.append(f"| `{name}` | {kind}: {words}{said} |")
    return "\n".join(rows)


_WARNINGS_HEAD = """\
# Warnings

Made by `python docs/reference.py` from the code; a test compares the two.

An answer has a warning if its data shows that a figure is doubtful. The first sentence of an answer names the codes
that concern the total; the text of each follows below the table. In JSON, each of `warnings` has `code` and `message`;
in Python also `found` and `advice`. The quotes below are the texts, with … for what differs.
"""


def warnings_page() -> str:
    """Every warning."""
    root = Path(pfa_flux.__file__).parent
    found = sorted(each for path in sorted(root.rglob("*.py")) for each in _warnings_in(ast.parse(path.read_text())))
    parts = [_WARNINGS_HEAD]
    for code, explained, says, advice in found:
        means, _, todo = (" ".join(part.split()) for part in explained.partition("\n\n"))
        quoted = f"{says} {advice}".rstrip() if todo else says
        parts.append(f"## {code}\n\n{means}\n")
        if quoted != "…":
            parts.append(f"> {quoted.replace('<', '&lt;')}\n")
        parts.append(f"**What to do:** {todo or advice}\n")
    return "\n".join(parts)


def _warnings_in(module: ast.Module) -> Iterator[tuple[str, str, str, str]]:
    """Code, explanation, text and advice of each warning of a module; its function or its constant explains it."""
    places = [node for node in ast.walk(module) if isinstance(node, ast.FunctionDef)]
    explained = [(place, ast.get_docstring(place) or "") for place in places]
    for node, after in zip(module.body, module.body[1:], strict=False):
        if isinstance(node, ast.Assign) and isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
            explained.append((node, inspect.cleandoc(str(after.value.value))))  # type: ignore[arg-type]
    for place, words in explained:
        for call in ast.walk(place):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "AnswerWarning":
                code, says, *advice = (_text(argument) for argument in call.args)
                yield code, words, says, " ".join(advice)


def _text(node: ast.expr) -> str:
    """A text of the code, with … for what is put into it."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return re.sub("…(?:, …)*", "…", "".join(_text(part) for part in node.values))
    return "…"


def main() -> int:
    """Write all, or with --check only look; 1 where one is not as it should be."""
    wanted = {
        "cli.md": reference(),
        "pfa-flux.1": manual(),
        "metrics.md": metrics_page(),
        "warnings.md": warnings_page(),
    }
    here = Path(__file__).parent
    if sys.argv[1:] == ["--check"]:
        wrong = [
            name for name, text in wanted.items() if not (here / name).exists() or (here / name).read_text() != text
        ]
        sys.stdout.writelines(f"docs/{name} is not up to date: run python docs/reference.py\n" for name in wrong)
        return int(bool(wrong))
    for name, text in wanted.items():
        (here / name).write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
