"""The tables `[sites.NAME]` and `[schema]` of pfa-flux.toml."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from pfa_flux import names
from pfa_flux.errors import SettingsError
from pfa_flux.schema import Schema
from pfa_flux.settings.checks import canonical, strings, table
from pfa_flux.settings.problems import Problems

SCHEMA_KEYS = tuple(each.name for each in fields(Schema))


def sites(value: object, source: object, problems: Problems) -> dict[str, tuple[str, ...]]:
    """Domains of each site. A wrong value adds a problem and is left out."""
    made: dict[str, tuple[str, ...]] = {}
    owner: dict[str, str] = {}
    if not isinstance(value, dict):
        with problems.of("sites"):
            raise SettingsError(f"{source}: sites is not a table", 'Write [sites.NAME] domains = ["example.com"].')
        return made
    for name, site in value.items():
        with problems.of(f"sites.{name}.domains"):
            made[name] = _domains(name, site, source)
        for domain in made.get(name, ()):
            if owner.setdefault(domain, name) != name:
                with problems.of(f"sites.{name}.domains"):
                    raise SettingsError(
                        f"{source}: {domain} is in two sites, {owner[domain]} and {name}", "Keep it in one of them."
                    )
    return made


def _domains(name: str, site: object, source: object) -> tuple[str, ...]:
    where = f"{source}: [sites.{name}]"
    if not isinstance(site, dict) or set(site) != {"domains"}:
        raise SettingsError(f"{where} has keys other than domains", 'Write domains = ["example.com"].')
    return canonical(strings(site["domains"], f"{where} domains"), f"{where} domains", names.wanted)


def schema(value: object, source: object, problems: Problems) -> Schema:
    """Names in the data. A wrong value adds a problem and is replaced by its default."""
    values: dict[str, Any] = {}
    for key, item in table(value, "schema", source, SCHEMA_KEYS, problems).items():
        with problems.of(f"schema.{key}"):
            where = f"{source}: [schema] {key}"
            values[key] = strings(item, where) if key == "excluded_actions" else _name(item, where)
    return Schema(**values)


def _name(item: object, where: str) -> str:
    if isinstance(item, str) and item and not item.startswith("_") and item.isprintable():
        return item
    raise SettingsError(f"{where} is {item!r}, not a name", "Write a non-empty string without a leading underscore.")
