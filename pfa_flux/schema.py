"""The names of buckets, measurements, tags and fields, in one place.

The defaults are those of the analytics this counter stands beside, so that its own queries and dashboards go
on giving right answers. Every name can be set (`[schema]` in pfa-flux.toml).
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Schema:
    """Names of measurements and fields, and the actions that are no page load.

    Attributes:
        hits_measurement: raw hits, one point per hit, tags domain, page, scheme, sess, type.
        hits_field: integer field of a raw hit, always 1.
        loads_measurement: raw page loads, written by the JavaScript analytics.
        loads_field: the field that marks a load, integer or float.
        excluded_actions: values of the tag `action` that are not a load. A row without `action` is a load.
        prefetches_measurement: how many requests of a minute were prefetches or previews, tags domain, sess.
        prefetches_field: their integer number.
        rollup_hits_measurement: hits of 15 minutes, tags domain, page, scheme, labelled by the window's end.
        rollup_hits_field: their integer sum.
        rollup_loads_measurement: page loads of 15 minutes, tags domain, page, labelled by the window's end.
        rollup_loads_field: their integer count.
        task_name: name of the task that downsamples hits.
        loads_task_name: name of the one that downsamples page loads.
    """

    hits_measurement: str = "pf_analytics_test_pixel"
    hits_field: str = "count"
    loads_measurement: str = "pf_analytics_test"
    loads_field: str = "response_time"
    excluded_actions: tuple[str, ...] = ('"ready"',)
    prefetches_measurement: str = "pfa_flux_prefetches"
    prefetches_field: str = "count"
    rollup_hits_measurement: str = "pf_analytics_pixel"
    rollup_hits_field: str = "hitcount"
    rollup_loads_measurement: str = "pf_analytics_loads"
    rollup_loads_field: str = "loadcount"
    task_name: str = "downsample_hitcounter"
    loads_task_name: str = "downsample_loadcounter"


def network_of(domain: str) -> str:
    """Network a domain belongs to: `tor` for .onion, `i2p` for .i2p, else `clearnet`; a port is no part of it."""
    name = without_port(domain)
    return next((network for network, suffix in SUFFIXES.items() if suffix and name.endswith(suffix)), "clearnet")


def without_port(domain: str) -> str:
    """A domain without its port; an IPv6 address keeps its brackets."""
    name, colon, port = domain.rpartition(":")
    return name if colon and port.isdecimal() else domain


SUFFIXES = {"clearnet": "", "tor": ".onion", "i2p": ".i2p"}
"""What the names of a network's domains end with; those of clearnet with anything else."""
NETWORKS = tuple(SUFFIXES)
Key = Literal["domain", "network", "page", "time"]
KEYS: tuple[Key, ...] = ("domain", "network", "page", "time")
"""What the rows of an answer can be told apart by."""
SOURCES = ("raw", "rollup")
"""Which rows figures are read from: those of each view, or those of windows."""


class Side(enum.StrEnum):
    """The two sides of the blocked ratio: page views that the pixel counted, and those that ran the analytics."""

    HITS = "hits"
    LOADS = "loads"

    @property
    def one(self) -> Literal["hit", "load"]:
        """One of its page views: in the spool, in metrics, in what the pixel says, in sentences."""
        return "load" if self is Side.LOADS else "hit"

    @property
    def column(self) -> Literal["hits", "js"]:
        """Its counts: in JSON, CSV and the attributes of results."""
        return "js" if self is Side.LOADS else "hits"

    @property
    def heading(self) -> str:
        """Its counts at the head of a table's column."""
        return "JS loads" if self is Side.LOADS else "hits"

    @property
    def label(self) -> str:
        """Its page views in sentences."""
        return "page loads" if self is Side.LOADS else "hits"


BOTH = (Side.HITS, Side.LOADS)
