"""Faults in windows, questions and figures, planted one by one: the tests have to see each of them."""

from __future__ import annotations

import re

import pytest

from tests.faults import Fault, planting

copy, test_a_fault_can_be_planted, test_a_fault_is_seen = planting("faults_in_figures.toml")


def test_a_fault_whose_text_is_not_there_once_is_told() -> None:
    fault = Fault("a name", "pfa_flux/times.py", "a = 1\n", "a = 2\n", ())
    assert fault.planted_in("a = 1\nb = 1\n") == "a = 2\nb = 1\n"
    for source, count in (("b = 1\n", 0), ("a = 1\na = 1\n", 2)):
        with pytest.raises(AssertionError, match=re.escape(f"pfa_flux/times.py has its text {count} times")):
            fault.planted_in(source)
