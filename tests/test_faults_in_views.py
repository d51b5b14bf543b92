"""Faults in warnings, drawings and the live page, planted one by one: the tests have to see each of them."""

from __future__ import annotations

import pytest

from tests.faults import ROOT, Copy, Fault, assert_seen, faults

FAULTS = faults("faults_in_views.toml")


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Copy:
    made = Copy(tmp_path_factory.mktemp("views"))
    made.check(FAULTS)
    return made


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_can_be_planted(fault: Fault) -> None:
    source = (ROOT / fault.file).read_text()
    assert fault.planted_in(source) != source


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_is_seen(fault: Fault, copy: Copy) -> None:
    assert_seen(copy, fault)
