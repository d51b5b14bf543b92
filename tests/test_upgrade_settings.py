"""A settings file of version 0.1 means what it meant."""

from __future__ import annotations

import shutil
from pathlib import Path

from pfa_flux import Settings, settings
from tests.upgrading import (
    MADE,
)


def assert_settings(own: Settings, token: str = "not-a-real-token") -> None:
    top = {
        "url": "https://influx.example:8086",
        "org": "my-org",
        "raw_bucket": "raw/forever",
        "rollup_bucket": "rollup/forever",
        "data_dir": Path("~/pfa-flux-data").expanduser(),
        "kapacitor_url": "http://kapacitor.example:9092",
        "ca_file": "/etc/ssl/influx.pem",
        "timeout": 12,
    }
    assert {key: getattr(own, key) for key in top} == top
    assert own.token.reveal() == token
    assert dict(own.sites) == {
        "blog": ("example.com", "www.example.com", "abcdefghijklmnop.onion", "example.i2p"),
        "shop.example": ("shop.example:8443",),
    }
    assert own.domains_of("blog") == own.sites["blog"]
    schema = {
        "hits_measurement": "hits",
        "hits_field": "n",
        "loads_measurement": "loads",
        "loads_field": "milliseconds",
        "excluded_actions": ('"ready"', "unload"),
        "rollup_hits_measurement": "hits 15m",
        "rollup_hits_field": "hits",
        "rollup_loads_measurement": "loads 15m",
        "rollup_loads_field": "loads",
        "task_name": "downsample hits",
        "loads_task_name": "downsample loads",
    }
    assert {key: getattr(own.schema, key) for key in schema} == schema
    task = {"every": 3600, "offset": 120, "lookback": 3, "tags": ("page", "domain", "host"), "backend": "runner"}
    assert {key: getattr(own.task, key) for key in task} == task
    pixel = {
        "listen": "unix:/run/pfa-flux/pixel.sock",
        "admin": "[::1]:9481",
        "path": "/dot.gif",
        "load_path": "/load.gif",
        "domains": ("example.com", "*.example.com", "example.i2p"),
        "max_domains": 7,
        "max_pages": 70,
        "page": "off",
        "trailing_slash": "add",
        "strip_index": True,
        "lower_case": True,
        "masks": ("/reset/*", "/u/?"),
        "trust_proxy": True,
        "no_referer": "reject",
        "opt_out": ("gpc", "dnt"),
        "synchronous": "full",
        "spool_mib": 5,
        "raw_retention": 9 * 86400,
        "max_connections": 77,
    }
    assert {key: getattr(own.pixel, key) for key in pixel} == pixel
    assert own.warnings == ()


def test_a_settings_file_of_0_1_means_what_it_meant(tmp_path: Path) -> None:
    toml = (MADE / "pfa-flux.toml").read_text(encoding="utf-8")
    config, token = tmp_path / "pfa-flux.toml", tmp_path / "token"
    config.write_text(toml)
    config.chmod(0o600)
    assert_settings(settings.load({}, config=config, environ={}))
    # A settings file holds either a token or the name of a token file.
    token.write_text("from a file\n")
    token.chmod(0o600)
    config.write_text(toml.replace('token = "not-a-real-token"', f'token_file = "{token}"'))
    assert_settings(settings.load({}, config=config, environ={}), token="from a file")


def test_a_settings_file_of_0_1_gives_way_to_the_environment_and_to_arguments(tmp_path: Path) -> None:
    config = tmp_path / "pfa-flux.toml"
    shutil.copyfile(MADE / "pfa-flux.toml", config)
    names = ("URL", "TOKEN", "ORG", "RAW_BUCKET", "ROLLUP_BUCKET", "DATA_DIR", "KAPACITOR_URL", "CA_FILE")
    environ = {f"PFA_FLUX_{name}": f"http://{name.lower()}" for name in names}
    own = settings.load({"org": "named"}, environ={**environ, "PFA_FLUX_TIMEOUT": "5", "PFA_FLUX_CONFIG": str(config)})
    assert (own.org, own.timeout, own.token.reveal()) == ("named", 5, "http://token")
    for key in ("url", "raw_bucket", "rollup_bucket", "kapacitor_url", "ca_file"):
        assert getattr(own, key) == f"http://{key}"
    assert own.data_dir == Path("http://data_dir")
    assert own.sites.keys() == {"blog", "shop.example"}
