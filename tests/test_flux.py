"""Flux as text: parameters, binding, escaping."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pfa_flux import InvalidValueError
from pfa_flux.engines.influxdb import flux

FILES = (
    "tasks/downsample_hitcounter.flux",
    "queries/blocked_ratio.join.flux",
    "queries/blocked_ratio.union.flux",
    "queries/sums.flux",
    "queries/rows.flux",
    "queries/edge.flux",
    "queries/values.flux",
    "dashboards/ratio.flux",
    "dashboards/task_health.flux",
    "dashboards/domains.flux",
)

TEXT = """// about
import "array"

// Parameters
keys = ["domain"]
// a comment
every = 1h
// End of parameters

from(bucket: v.bucket) |> range(start: v.timeRangeStart) |> group(columns: keys) |> window(every: every)
"""
V = {"bucket": flux.literal("b"), "timeRangeStart": flux.instant(0)}


@pytest.mark.parametrize("name", FILES)
def test_every_file_has_parameters_each_of_which_is_used(name: str) -> None:
    assert flux.parameters(flux.load(name))


def test_there_is_no_flux_file_without_a_test() -> None:
    root = flux.resource("")
    found = {f"{folder.name}/{file.name}" for folder in root.iterdir() for file in folder.iterdir()}
    assert found == set(FILES)


def test_values_take_the_place_of_defaults_and_v_comes_after_the_imports() -> None:
    bound = flux.bind(TEXT, {"keys": flux.literal(["a", "b"])}, V)
    assert bound == TEXT.replace('keys = ["domain"]', 'keys = ["a", "b"]').replace(
        "// Parameters\n", 'v = {bucket: "b", timeRangeStart: 1970-01-01T00:00:00Z}\n// Parameters\n'
    )


def test_a_value_without_a_parameter_is_refused() -> None:
    with pytest.raises(InvalidValueError, match="no parameter 'key'"):
        flux.bind(TEXT, {"key": flux.literal("x")}, V)


@pytest.mark.parametrize("member", ["timeRangeStrat", "timeRangeStop"])
def test_a_misspelt_or_superfluous_member_of_v_is_refused(member: str) -> None:
    with pytest.raises(InvalidValueError, match=f"{member}"):
        flux.bind(TEXT, {}, {**V, member: flux.instant(0)})
    with pytest.raises(InvalidValueError, match="reads"):
        flux.bind(TEXT, {}, {"bucket": flux.literal("b")})


def test_a_parameter_that_is_never_used_is_refused() -> None:
    with pytest.raises(InvalidValueError, match="'unused' is declared but never used"):
        # Its name in a comment or a string is no use of it.
        flux.parameters(TEXT.replace("every = 1h", "every = 1h\nunused = 1") + '// unused\nx = "unused"\n')


def test_a_parameter_that_is_declared_twice_is_refused() -> None:
    with pytest.raises(InvalidValueError, match="declared twice"):
        flux.parameters(TEXT.replace("every = 1h", "every = 1h\nevery = 2h"))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("plain", '"plain"'),
        ('") |> drop() //', '"\\x22) |> drop() //"'),
        ("${1}", '"\\x24{1}"'),
        ("back\\slash", '"back\\x5cslash"'),
        ("new\nline\t\x00\x7f", '"new\\x0aline\\x09\\x00\\x7f"'),
        ("ünï", '"ünï"'),
        (5, "5"),
        (-5, "(-5)"),
        (True, "true"),
        (["a", "b"], '["a", "b"]'),
    ],
)
def test_literals(value: str | int | bool | list[str], text: str) -> None:
    assert flux.literal(value) == text


@pytest.mark.parametrize("value", ["\ud800", 2**63, -(2**63)])
def test_what_flux_cannot_carry_is_refused(value: str | int) -> None:
    with pytest.raises(InvalidValueError):
        flux.literal(value)


@given(st.text())
def test_a_literal_holds_nothing_that_could_end_it(text: str) -> None:
    inner = flux.literal(text)[1:-1]
    assert not set('"$') & set(inner)
    assert inner.replace("\\x", "").count("\\") == 0
    assert all(c >= " " for c in inner)
