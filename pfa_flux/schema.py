"""The names of measurements, tags and fields, in one place.

The defaults are the names of the JavaScript analytics that this counter complements, so its queries and dashboards keep
working. You can set the names in `[schema]` of pfa-flux.toml.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Schema:
    """Names of measurements, fields and tasks, and the actions that are not page loads.

    Attributes:
        hits_measurement: raw hits, one point for each hit, with the tags domain, page, scheme, sess and type.
        hits_field: integer field of a raw hit, always 1.
        loads_measurement: raw page loads from the JavaScript analytics.
        loads_field: field that marks a load, integer or float.
        excluded_actions: values of the tag `action` that are not loads. A row without `action` is a load.
        prefetches_measurement: prefetches and previews of each minute, with the tags domain and sess.
        prefetches_field: integer number of prefetches and previews.
        rollup_hits_measurement: hits of each window, with the tags domain, page and scheme.
        rollup_hits_field: integer sum of the hits.
        rollup_loads_measurement: page loads of each window, with the tags domain and page.
        rollup_loads_field: integer number of the page loads.
        task_name: name of the task for hits.
        loads_task_name: name of the task for page loads.
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
    """The network of a domain, with or without a port: `tor` for .onion, `i2p` for .i2p, otherwise `clearnet`."""
    name = without_port(domain)
    return next((network for network, suffix in SUFFIXES.items() if suffix and name.endswith(suffix)), "clearnet")


def without_port(domain: str) -> str:
    """A domain without its port; an IPv6 address keeps its brackets."""
    name, colon, port = domain.rpartition(":")
    return name if colon and port.isdecimal() else domain


SUFFIXES = {"clearnet": "", "tor": ".onion", "i2p": ".i2p"}
"""Suffix of the domains in each network. Clearnet has all other domains."""
NETWORKS = tuple(SUFFIXES)
Key = Literal["domain", "network", "page", "time"]
KEYS: tuple[Key, ...] = ("domain", "network", "page", "time")
"""How to group the rows of an answer."""
SOURCES = ("raw", "rollup")
"""Which rows figures are read from: those of each view, or those of windows."""


class Side(enum.StrEnum):
    """The two sides of the blocked ratio: page views that the pixel counted, and those that the analytics reported."""

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
        """Name of the side in sentences."""
        return "page loads" if self is Side.LOADS else "hits"


BOTH = (Side.HITS, Side.LOADS)
