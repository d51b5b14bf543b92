"""Faults in the pixel, names, settings, texts and commands, planted one by one: the tests have to see each of them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.faults import Copy, Fault, assert_seen, planting

copy, test_a_fault_can_be_planted, test_a_fault_is_seen = planting("faults_in_the_service.toml")


@pytest.mark.slow
def test_tests_commands_and_helpers_of_the_copy_run_its_code(copy: Copy) -> None:
    fault = Fault("another version", "pfa_flux/__init__.py", '__version__ = "', '__version__ = "9.9.', ())
    where = "import pfa_flux; print(pfa_flux.__file__, pfa_flux.__version__)"
    with copy.planted(fault):
        command = copy.run([str(Path(sys.executable).with_name("pfa-flux")), "--version"])
        # As `helper/process.py` starts the helper.
        helper = copy.run([sys.executable, "-P", "-c", where])
    assert (command.returncode, helper.returncode) == (0, 0)
    assert command.stdout.split()[-1].startswith("9.9.")
    assert helper.stdout.startswith(f"{copy.folder / 'pfa_flux' / '__init__.py'} 9.9.")


@pytest.mark.slow
def test_a_fault_that_nothing_sees_is_told(copy: Copy) -> None:
    test = ("tests/test_times.py::test_a_duration_is_the_sum_of_its_parts",)
    harmless = Fault("harmless", "pfa_flux/times.py", '"""Nanoseconds in a second."""', '"""Something."""', test)
    with pytest.raises(AssertionError, match="no test sees 'harmless'"):
        assert_seen(copy, harmless)
    broken = Fault("broken", "pfa_flux/times.py", "NS = 1_000_000_000", "NS = ", test)
    with pytest.raises(AssertionError, match="pytest ended with 4 and not by a test that fails"):
        assert_seen(copy, broken)
