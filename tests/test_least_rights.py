"""The rights that the documents give to each token are enough for its job, and no more."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.cli import pfa_flux
from tests.engines import EngineUnavailableError, Server, start
from tests.engines.http import Client, ServerError
from tests.pixel_server import PixelServer
from tests.stage import until
from tests.test_documents import Scenario, started


def permissions(server: Server, rights: dict[str, tuple[str, ...]]) -> str:
    """A token of InfluxDB 2 with rights such as read: bucket names, or `tasks` for those."""
    client = server.client
    org = client.org_id()
    given: list[dict[str, Any]] = [
        {"action": action, "resource": {"type": "tasks", "orgID": org}}
        if name == "tasks"
        else {"action": action, "resource": {"type": "buckets", "id": client.bucket_id(name), "orgID": org}}
        for action, names in rights.items()
        for name in names
    ]
    body = {"orgID": org, "description": "least rights", "permissions": given}
    return str(client.json("POST", "/api/v2/authorizations", body)["token"])


RAW, ROLLUP = "telegraf/autogen", "websites/analytics"
RIGHTS: dict[str, dict[str, tuple[str, ...]]] = {
    "pixel": {"write": (RAW,)},
    "task": {"read": (RAW, ROLLUP, "tasks"), "write": (ROLLUP, "tasks")},
    "reader": {"read": (RAW, ROLLUP)},
}
GRANTS = {
    "pixel": ("GRANT WRITE ON telegraf TO pixel",),
    "task": ("GRANT READ ON telegraf TO task", "GRANT ALL ON websites TO task"),
    "reader": ("GRANT READ ON telegraf TO reader", "GRANT READ ON websites TO reader"),
}


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["influxdb-2.7", "influxdb-1.8"])
def test_a_token_with_the_least_rights_is_enough_for_its_job(engine: str, tmp_path: Path) -> None:
    scenario = Scenario("docs/operations.md", ("Tokens with the least rights",), engine)
    try:
        server = start(engine, auth=engine == "influxdb-1.8")
    except EngineUnavailableError:
        server = started(scenario)
    with server:
        tokens = {}
        for who, rights in RIGHTS.items():
            if server.org:
                tokens[who] = permissions(server, rights)
                continue
            for statement in (f"CREATE USER {who} WITH PASSWORD 'secret'", *GRANTS[who]):
                server.client.influxql(statement)
            tokens[who] = f"{who}:secret"
        org: dict[str, Any] = {"org": server.org} if server.org else {}
        with PixelServer(tmp_path, url=server.url, token=tokens["pixel"], **org) as pixel:
            referer = ["curl", "--silent", "--fail", "--output", "/dev/null", "--referer", "https://example.com/"]
            subprocess.run([*referer, f"{pixel.url}/count.gif"], check=True)
            until(lambda: pixel.metrics()["shipped_total"] == 1)
        here = {"PFA_FLUX_URL": server.url, "PFA_FLUX_DATA_DIR": str(tmp_path / "own")}
        here |= {"PFA_FLUX_ORG": server.org} if server.org else {}
        jobs = {
            "task": ("install-task", "doctor", "task verify --repair"),
            "reader": ("blocked-ratio", "task verify"),
        }
        for who, commands in jobs.items():
            for command in commands:
                done = pfa_flux(*command.split(), env={**here, "PFA_FLUX_TOKEN": tokens[who]})
                assert done.code == 0, f"{who}: {command}\n{done.out}{done.err}"
        # And no more than that: the pixel's reads nothing, a reader's writes nothing.
        assert pfa_flux("blocked-ratio", env={**here, "PFA_FLUX_TOKEN": tokens["pixel"]}).code == 4
        for bucket in (RAW, ROLLUP):
            with pytest.raises(ServerError, match=r"40[13]"):
                Client(server.url, tokens["reader"], server.org).write(bucket, ["pf_analytics_pixel hitcount=1i 1"])
