"""Several pixels behind a load balancer, into one InfluxDB that lets only so many points a second in."""

from __future__ import annotations

import socket
import threading
import time
from collections import Counter
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path

import pytest

from pfa_flux.settings.pixel import PixelSettings
from pfa_flux.setup.nginx import Part, configuration
from tests.engines.plugin import MakeWorkspace
from tests.engines.process import free_ports
from tests.limiter import Limiter
from tests.load import Answers, get, send
from tests.pixel_server import PixelServer
from tests.stored import hits_by_page, points, until
from tests.test_shipping import pixel
from tests.webserver import Nginx

HOSTS = [f"127.0.0.{number}" for number in range(2, 6)]
CONNECTIONS, EACH, PAGES = 8, 1000, 50
RATE, BURST = 1000.0, 500.0
"""Points a second that are let in, and points that are let in at once: less than the hits come in at."""


def free_port(host: str) -> int:
    """A port of an address that nobody listens on."""
    with socket.socket() as each:
        each.bind((host, 0))
        return int(each.getsockname()[1])


def balancer(folder: Path, pixels: list[PixelServer]) -> Nginx:
    """nginx with what `pfa-flux nginx` prints, and a line more for each further pixel, as docs/capacity.md says."""
    (port,) = free_ports(1)
    http, server = (
        configuration(PixelSettings(listen=pixels[0].listen), part=part) for part in (Part.HTTP, Part.SERVER)
    )
    first = f"    server {pixels[0].listen};\n"
    assert http.count(first) == 1
    every = "".join(f"    server {each.listen};\n" for each in pixels)
    site = f"server {{ listen 127.0.0.1:{port}; server_name example.com; keepalive_requests 100000;\n{server}\n}}"
    return Nginx(folder, port, f"{http.replace(first, every)}\n{site}")


def at_once(address: str) -> list[Answers]:
    """Hits over several connections at the same time; each has all pages in turn."""
    found: list[Answers] = []
    requests = [get(f"/{number % PAGES}") for number in range(EACH)]
    threads = [
        threading.Thread(target=lambda: found.append(send(address, requests, ahead=20))) for _ in range(CONNECTIONS)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


@pytest.mark.slow
def test_four_pixels_behind_a_balancer_and_a_rate_limit_count_every_hit_once(
    make_workspace: MakeWorkspace, tmp_path: Path
) -> None:
    workspace = make_workspace("influxdb-2.7")
    sent = CONNECTIONS * EACH
    with ExitStack() as stack:
        limiter = stack.enter_context(Limiter(workspace.server.url, RATE, BURST))
        pixels = [
            stack.enter_context(pixel(tmp_path / host, workspace, url=limiter.url, listen=f"{host}:{free_port(host)}"))
            for host in HOSTS
        ]
        began = time.monotonic()
        nginx = stack.enter_context(balancer(tmp_path / "nginx", pixels))
        answers = at_once(f"127.0.0.1:{nginx.port}")
        assert [(each.counted, each.why) for each in answers] == [(EACH, Counter())] * CONNECTIONS
        assert [each.metrics()['hits_total{kind="hit"}'] for each in pixels] == [sent / len(HOSTS)] * len(HOSTS)
        until(lambda: all(each.metrics()["journal_rows"] == 0 for each in pixels), "four empty spools")
        took = time.monotonic() - began
        retries = [each.metrics()["ship_retries_total"] for each in pixels]
        assert [each.metrics()["shipped_total"] for each in pixels] == [sent / len(HOSTS)] * len(HOSTS)
        assert [each.metrics()["quarantined"] for each in pixels] == [0] * len(HOSTS)

    found = points(workspace)
    assert hits_by_page(workspace) == {f"/{page}": sent // PAGES for page in range(PAGES)}
    assert sorted(Counter(row["sess"] for row in found).values()) == [sent // len(HOSTS)] * len(HOSTS)

    # The limit was met, and no writer came back before it was told to.
    assert len(limiter.refused) == sum(retries) > 0
    assert sum(write.points for write in limiter.writes if not write.wait) == sent
    for who in {write.who for write in limiter.writes}:
        mine = [write for write in limiter.writes if write.who == who]
        assert [later.at - write.at for write, later in pairwise(mine) if later.at - write.at < write.wait] == []
    print(f"{sent:,} hits in {took:.1f} s; of {len(limiter.writes)} writes {len(limiter.refused)} were refused")
