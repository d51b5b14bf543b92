"""What all tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import settings

pytest_plugins = ["tests.engines.plugin"]

# Fixed seeds and no deadline: the machines are shared, and a run must be the same as the last.
settings.register_profile("repeatable", derandomize=True, deadline=None, database=None)
settings.load_profile("repeatable")


@pytest.fixture(scope="session", autouse=True)
def one_date() -> Iterator[None]:
    """The date that answers made in this process carry, so that two of them can be compared byte by byte."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pfa_flux.hits.http.formatdate", lambda **_: DATE)
        yield


DATE = "Thu, 01 Jan 1970 00:00:00 GMT"
