"""Faults in warnings, drawings and the live page, planted one by one: the tests have to see each of them."""

from __future__ import annotations

from tests.faults import planting

copy, test_a_fault_can_be_planted, test_a_fault_is_seen = planting("faults_in_views.toml")
