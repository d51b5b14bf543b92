"""Page views as stored points."""

from __future__ import annotations

from pfa_flux.engines.base import Point
from pfa_flux.pixel.hit import HIT, View
from pfa_flux.pixel.prefetches import number_of
from pfa_flux.schema import Schema


def point_of(view: View, schema: Schema, sess: str, time: int) -> Point:
    """The stored point of a page view."""
    if view.kind == HIT:
        tags = {"domain": view.domain, "page": view.page, "scheme": view.scheme, "sess": sess, "type": "pixel"}
        return Point(schema.hits_measurement, tags, schema.hits_field, 1, time)
    if view.kind == "prefetch":
        tags = {"domain": view.domain, "sess": sess}
        return Point(schema.prefetches_measurement, tags, schema.prefetches_field, number_of(view), time)
    tags = {"action": "load", "domain": view.domain, "page": view.page, "sess": sess, "type": "pageview"}
    return Point(schema.loads_measurement, tags, schema.loads_field, 0.0, time)
