"""Settings: flags over environment over TOML file over defaults; wrong ones are told in words."""

from __future__ import annotations

import traceback
from pathlib import Path

import pytest

from pfa_flux import Settings, SettingsError, settings
from pfa_flux.schema import BOTH, Side
from pfa_flux.settings import Secret


def read(tmp_path: Path, toml: str = "", environ: dict[str, str] | None = None, **flags: str | None) -> Settings:
    if toml:
        (tmp_path / "pfa-flux.toml").write_text(toml)
    return settings.load(flags, environ={"HOME": str(tmp_path / "home"), **(environ or {})}, directory=tmp_path)


def test_without_anything_the_engine_is_embedded_and_names_are_the_originals(tmp_path: Path) -> None:
    got = read(tmp_path)
    assert (got.url, got.raw_bucket, got.rollup_bucket) == ("", "telegraf/autogen", "websites/analytics")
    assert got.schema.hits_measurement == "pf_analytics_test_pixel"
    assert got.schema.excluded_actions == ('"ready"',)


def test_flags_win_over_environment_over_file_over_defaults(tmp_path: Path) -> None:
    toml = 'url = "http://file:1"\norg = "file"\nraw_bucket = "file/a"\n'
    environ = {"PFA_FLUX_URL": "http://env:1", "PFA_FLUX_ORG": "env"}
    got = read(tmp_path, toml, environ, url="http://flag:1", org=None)
    assert (got.url, got.org, got.raw_bucket, got.rollup_bucket) == (
        "http://flag:1",
        "env",
        "file/a",
        "websites/analytics",
    )


def test_an_empty_variable_says_nothing(tmp_path: Path) -> None:
    environ = {"PFA_FLUX_ORG": "", "PFA_FLUX_ROLLUP_BUCKET": "", "PFA_FLUX_DATA_DIR": ""}
    got = read(tmp_path, 'org = "file"\ndata_dir = "/file"\n', environ)
    assert (got.org, got.rollup_bucket, got.data_dir) == ("file", "websites/analytics", Path("/file"))


def test_the_file_in_the_working_directory_is_read_before_the_users(tmp_path: Path) -> None:
    users = tmp_path / "home" / ".config" / "pfa-flux"
    users.mkdir(parents=True)
    (users / "pfa-flux.toml").write_text('org = "user"')
    assert read(tmp_path).org == "user"
    assert read(tmp_path, 'org = "here"').org == "here"
    other = tmp_path / "other.toml"
    other.write_text('org = "named"')
    assert read(tmp_path, environ={"PFA_FLUX_CONFIG": str(other)}).org == "named"
    assert settings.load({}, config=other, environ={}, directory=tmp_path).org == "named"


def test_a_named_file_that_is_missing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"absent\.toml does not exist"):
        settings.load({}, config=tmp_path / "absent.toml", environ={}, directory=tmp_path)


@pytest.mark.parametrize(
    ("toml", "words"),
    [
        ("urll = 'x'", "unknown key 'urll'"),
        ("url = 5", "url is int, not a string"),
        ("timeout = 'soon'", "timeout is 'soon', not a positive whole number"),
        ("timeout = true", "timeout is True"),
        ("url = ", "not valid TOML"),
        ("[schema]\nhits = 'x'", "unknown key 'hits'"),
        ("[schema]\nhits_field = ''", "hits_field is ''"),
        ("[schema]\nexcluded_actions = 'x'", "not a list"),
        ("[sites.a]\ndomain = 'x'", r"\[sites.a\] has keys other than domains"),
        ("[sites.a]\ndomains = 'x'", "not a list"),
        ("[sites.a]\ndomains = ['x']\n[sites.b]\ndomains = ['x']", "x is in two sites, a and b"),
        ("url = 'localhost:8086'", "url is not an http or https"),
        ("url = 'http://u:p@h'", "url contains a user name or password"),
        ("raw_bucket = ''", "raw_bucket is empty"),
        ("rollup_bucket = 'telegraf/autogen'", "raw_bucket and rollup_bucket are the same"),
        ("kapacitor_url = 'http://k:9092'", "kapacitor_url is set, but url is not"),
        ("token = 't'\ntoken_file = 'f'", "both token and token_file"),
    ],
)
def test_a_wrong_file_is_told_with_its_name_its_key_and_what_is_allowed(tmp_path: Path, toml: str, words: str) -> None:
    with pytest.raises(SettingsError, match=words) as caught:
        read(tmp_path, toml)
    assert caught.value.hint


def test_an_unknown_environment_variable_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="unknown environment variable PFA_FLUX_URI"):
        read(tmp_path, environ={"PFA_FLUX_URI": "http://h"})


def test_variables_of_other_programs_can_be_named(tmp_path: Path) -> None:
    others = {"PFA_FLUX_STATS_A": "1", "PFA_FLUX_PROBE": "2"}
    made = read(tmp_path, environ={**others, "PFA_FLUX_IGNORE": "PFA_FLUX_STATS_,PFA_FLUX_PROBE", "PFA_FLUX_ORG": "o"})
    assert made.org == "o"
    with pytest.raises(SettingsError, match="unknown environment variable PFA_FLUX_PROBE"):
        read(tmp_path, environ={**others, "PFA_FLUX_IGNORE": "PFA_FLUX_STATS_,"})


OF_A_SERVICE = {
    "SERVICE_HOST": "10.0.0.11",
    "SERVICE_PORT": "8080",
    "SERVICE_PORT_HTTP": "8080",
    "PORT": "tcp://10.0.0.11:8080",
    "PORT_8080_TCP": "tcp://10.0.0.11:8080",
    "PORT_8080_TCP_PROTO": "tcp",
    "PORT_8080_TCP_PORT": "8080",
    "PORT_8080_TCP_ADDR": "10.0.0.11",
}


@pytest.mark.parametrize("service", ["PFA_FLUX", "PFA_FLUX_INFLUXDB"])
def test_what_kubernetes_sets_for_a_service_of_the_name_is_passed_over(service: str, tmp_path: Path) -> None:
    environ = {f"{service}_{name}": value for name, value in OF_A_SERVICE.items()}
    assert read(tmp_path, environ={**environ, "PFA_FLUX_URL": "http://h"}).url == "http://h"
    for name in (f"{service}_SERVICES", f"{service}_PORTS", "PFA_FLUX_OTHER_PORT"):
        with pytest.raises(SettingsError, match=f"unknown environment variable {name}"):
            read(tmp_path, environ={**environ, name: "1"})


def test_a_token_comes_from_environment_file_or_toml(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("from-file\n")
    file.chmod(0o600)
    assert read(tmp_path, environ={"PFA_FLUX_TOKEN": "from-env"}).token.reveal() == "from-env"
    assert read(tmp_path, environ={"PFA_FLUX_TOKEN_FILE": str(file)}).token.reveal() == "from-file"
    got = read(tmp_path, f'token_file = "{file}"')
    assert (got.token.reveal(), got.warnings) == ("from-file", ())
    assert read(tmp_path, f'token_file = "{file}"', {"PFA_FLUX_TOKEN": "env"}).token.reveal() == "env"


def test_a_token_file_that_others_can_read_is_warned_about(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("secret-token")
    file.chmod(0o644)
    (warning,) = read(tmp_path, token_file=str(file)).warnings
    assert f"chmod 600 {file}" in warning
    assert "secret-token" not in warning


@pytest.mark.parametrize("content", [None, "", " \n"])
def test_a_token_file_that_is_missing_or_empty_is_an_error(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "token"
    if content is not None:
        file.write_text(content)
    with pytest.raises(SettingsError, match="token file"):
        read(tmp_path, token_file=str(file))


def test_a_secret_is_in_no_repr_and_no_traceback(tmp_path: Path) -> None:
    token = "-".join(["hu", "sh"])
    got = read(tmp_path, environ={"PFA_FLUX_TOKEN": token})
    assert token not in repr(got)
    assert token not in f"{got.token} {got.token!r}"
    with pytest.raises(SettingsError) as caught:
        read(tmp_path, environ={"PFA_FLUX_TOKEN": token, "PFA_FLUX_URL": "nonsense"})
    assert token not in "".join(traceback.format_exception(caught.value))
    assert Secret("a") == Secret("a") != Secret("b")


def test_an_unknown_site_is_told_with_those_there_are(tmp_path: Path) -> None:
    got = read(tmp_path, '[sites.blog]\ndomains = ["example.com", "x.onion"]')
    assert got.domains_of("blog") == ("example.com", "x.onion")
    with pytest.raises(SettingsError, match="the settings have no site 'shop' \\(sites: blog\\)"):
        got.domains_of("shop")


def test_a_token_file_that_is_overridden_need_not_be_readable(tmp_path: Path) -> None:
    credential = tmp_path / "credential"
    credential.write_text("right")
    credential.chmod(0o600)
    toml = f'token_file = "{tmp_path / "absent"}"\n'
    assert read(tmp_path, toml, {"PFA_FLUX_TOKEN_FILE": str(credential)}).token == Secret("right")
    with pytest.raises(SettingsError, match="absent cannot be read"):
        read(tmp_path, toml)


def test_page_loads_are_downsampled_unless_the_file_says_no(tmp_path: Path) -> None:
    assert read(tmp_path).task.sides == BOTH
    got = read(tmp_path, "[task]\nloads = false\n").task
    assert (got.loads, got.sides) == (False, (Side.HITS,))
    with pytest.raises(SettingsError, match=r"\[task\] loads is 'no', not true or false"):
        read(tmp_path, '[task]\nloads = "no"\n')


def test_settings_know_the_file_that_they_are_from(tmp_path: Path) -> None:
    assert read(tmp_path).file is None
    assert read(tmp_path, "timeout = 5\n").file == tmp_path / "pfa-flux.toml"
