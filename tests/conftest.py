"""What all tests share."""

from __future__ import annotations

from hypothesis import settings

pytest_plugins = ["tests.engines.plugin"]

# Fixed seeds and no deadline: the machines are shared, and a run must be the same as the last.
settings.register_profile("repeatable", derandomize=True, deadline=None, database=None)
settings.load_profile("repeatable")
