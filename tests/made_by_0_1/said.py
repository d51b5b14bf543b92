"""What 0.1 said: its answers beside the oracle, all that it knows of a task, and JSON of both."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pfa_flux import Analytics, Point
from pfa_flux.times import format_instant, parse_instant
from tests import oracle
from tests.data import MINUTE


def answers(made: Analytics, asked: Sequence[dict[str, Any]], points: Sequence[Point]) -> list[dict[str, Any]]:
    """What 0.1 answers; where the oracle disagrees, with the right counts beside it."""
    found = []
    for ask in asked:
        said = json.loads(made.blocked_ratio(**ask).to_json())
        kept = {key: said[key] for key in ("start", "stop", "engine", "dialect", "source", "rows")}
        entry: dict[str, Any] = {
            "ask": ask,
            "answer": {**kept, "warnings": sorted(each["code"] for each in said["warnings"])},
        }
        right = counted(points, ask)
        given = [{key: row[key] for key in (*ask["by"], "hits", "js")} for row in said["rows"]]
        if right != [row for row in given if row["hits"] or row["js"]]:
            assert ask.get("source") == "rollup" or "embedded-clock" in str(made.settings.data_dir), ask
            entry["right"] = right
        found.append(entry)
    return found


def counted(points: Sequence[Point], ask: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows of an answer that have hits or loads, counted by hand."""
    start, stop = (parse_instant(ask[edge], 0) for edge in ("start", "stop"))
    given = {key: ask[key] for key in ("domains", "networks", "pages", "every", "tz") if key in ask}
    sums = oracle.totals(points, start, stop, ask["by"], **given)
    shown = [
        {**{name: _shown(name, part, ask) for name, part in zip(ask["by"], key, strict=True)}, "hits": h, "js": j}
        for key, (h, j) in sums.items()
    ]
    return sorted(shown, key=lambda row: [row[name] for name in ask["by"]])


def _shown(name: str, value: str | int, ask: dict[str, Any]) -> str:
    if name != "time":
        return str(value)
    if ask.get("tz", "UTC") == "UTC":
        return format_instant(int(value))
    return format_instant(int(value) + 330 * MINUTE).replace("Z", "+05:30")


def told(task: Any, start: int) -> dict[str, Any]:
    """All that 0.1 knows of a task."""
    installed, gaps, proof, status = task.installed(), task.gaps(start), task.verify(start), task.status(start)
    return {
        "name": task.spec.name,
        "id": installed.id,
        "active": installed.active,
        "last_run": installed.last_run,
        "last_error": installed.last_error,
        "plan": task.plan().state,
        "complete": status.complete,
        "gaps": {
            "state": gaps.state,
            "known_from": gaps.known_from,
            "raw_windows": gaps.raw_windows,
            "missing": gaps.missing,
            "short": gaps.short,
            "newest": gaps.newest,
            "unknown": gaps.unknown,
        },
        "verify": {
            "clean": proof.clean,
            "windows": proof.windows,
            "unknown": proof.unknown,
            "rows": proof.rows,
            "count": proof.count,
            "spans": proof.spans,
        },
        "late": task.touched(),
        "runs": [
            [run.id, run.scheduled_for, run.status, run.started, run.finished, run.error] for run in task.runs(500)
        ],
        "logs": task.logs(),
    }


def save(path: Path, value: object) -> None:
    """Write JSON, with as much on a line as fits."""
    path.write_text(f"{_json(value)}\n", encoding="utf-8")


def _json(value: object, indent: str = "") -> str:
    flat = json.dumps(value, ensure_ascii=False)
    if len(indent) + len(flat) <= 160 or not isinstance(value, dict | list | tuple):
        return flat
    deeper = f"{indent} "
    if isinstance(value, dict):
        parts = [f"{json.dumps(key, ensure_ascii=False)}: {_json(each, deeper)}" for key, each in value.items()]
        return f"{{\n{deeper}" + f",\n{deeper}".join(parts) + f"\n{indent}}}"
    return f"[\n{deeper}" + f",\n{deeper}".join(_json(each, deeper) for each in value) + f"\n{indent}]"
