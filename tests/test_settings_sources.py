"""Settings are made of a document, an environment and arguments; all that is wrong is found at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pfa_flux import PfaFluxError, SettingsError, settings
from pfa_flux.settings import KEYS, Secret, resolve
from pfa_flux.settings.report import report
from pfa_flux.settings.secret import read_token
from pfa_flux.settings.sources import TABLES, VARIABLES, Source
from pfa_flux.settings.task import TaskSettings

FILE = Path("/etc/x.toml")


def wrong(document: dict[str, Any], environ: dict[str, str] | None = None, **flags: str) -> list[tuple[str, str]]:
    """Key and message of each problem."""
    made = resolve(document, environ or {}, flags, path=FILE)
    return [(problem.key, problem.error.message) for problem in made.problems]


def test_resolving_reads_no_file_and_no_environment_but_what_it_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PFA_FLUX_ORG", "not this")
    monkeypatch.setenv("XDG_DATA_HOME", "/not/this")
    document = {"token_file": "~/absent", "url": "http://h:1", "pixel": {"listen": "a:1"}}
    made = resolve(document, {"HOME": "/home/a"}, {}, path=FILE)
    assert (made.problems, made.token_file) == ((), Path("/home/a/absent"))
    assert (made.settings.token, made.settings.org, made.settings.file) == (Secret(""), "", FILE)
    assert made.settings.data_dir == Path("/home/a/.local/share/pfa-flux")
    assert resolve({}, {"XDG_DATA_HOME": "/d"}, {}).settings.data_dir == Path("/d/pfa-flux")


def test_each_value_has_its_source() -> None:
    document = {
        "org": "o",
        "url": "http://f:1",
        "timeout": 5,
        "sites": {"a": {"domains": ["x"]}},
        "task": {"loads": True},
    }
    environ = {"PFA_FLUX_URL": "http://e:1", "PFA_FLUX_RAW_BUCKET": "r"}
    made = resolve(document, environ, {"raw_bucket": "s", "ca_file": None}, path=FILE)
    assert made.sources == {
        "org": Source("file", str(FILE)),
        "timeout": Source("file", str(FILE)),
        "url": Source("environment", "PFA_FLUX_URL"),
        "raw_bucket": Source("flag", "--raw-bucket"),
        "sites.a.domains": Source("file", str(FILE)),
        "task.loads": Source("file", str(FILE)),
    }


def test_of_a_token_and_a_token_file_the_one_that_wins_has_a_source() -> None:
    over = resolve({"token_file": "/f"}, {"PFA_FLUX_TOKEN": "t"}, {}, path=FILE)
    assert (over.settings.token, over.token_file) == (Secret("t"), None)
    assert over.sources == {"token": Source("environment", "PFA_FLUX_TOKEN")}
    under = resolve({"token": "t"}, {}, {"token_file": "/f"}, path=FILE)
    assert (under.settings.token, under.token_file) == (Secret(""), Path("/f"))
    assert under.sources == {"token_file": Source("flag", "--token-file")}


def test_all_that_is_wrong_is_found_at_once() -> None:
    document = {
        "urll": "x",
        "timeout": 0,
        "raw_bucket": "same",
        "rollup_bucket": "same",
        "kapacitor_url": "k:1",
        "sites": {"a": {"domain": "x"}, "b": {"domains": [5]}, "c": {"domains": ["ok"]}, "d": {"domains": ["ok"]}},
        "schema": {"hits_field": "", "hit": "h"},
        "task": {"every": "90s", "lookback": 0, "backend": "cron"},
        "pixel": {"listen": "x", "page": "on", "lisen": 1, "path": "/a", "load_path": "/a"},
    }
    environ = {"PFA_FLUX_URI": "x", "PFA_FLUX_TIMEOUT": "soon", "PFA_FLUX_ORG": "a\nb"}
    assert wrong(document, environ) == [
        ("urll", "/etc/x.toml: unknown key 'urll'"),
        ("PFA_FLUX_URI", "unknown environment variable PFA_FLUX_URI"),
        ("timeout", "/etc/x.toml: timeout is 0, not a positive whole number"),
        ("org", "PFA_FLUX_ORG: org holds a control character"),
        ("timeout", "PFA_FLUX_TIMEOUT: timeout is 'soon', not a positive whole number"),
        ("sites.a.domains", "/etc/x.toml: [sites.a] has other keys than domains"),
        ("sites.b.domains", "/etc/x.toml: [sites.b] domains is [5], not a list of non-empty strings"),
        ("sites.d.domains", "/etc/x.toml: ok is in two sites, c and d"),
        ("schema.hit", "/etc/x.toml: [schema] has an unknown key 'hit'"),
        ("schema.hits_field", "/etc/x.toml: [schema] hits_field is '', not a name"),
        ("task.lookback", "/etc/x.toml: [task] lookback is 0, not a positive whole number"),
        ("task.backend", "/etc/x.toml: [task] backend is 'cron'"),
        ("task.every", "/etc/x.toml: [task] every is not whole minutes up to a day"),
        ("pixel.lisen", "/etc/x.toml: [pixel] has an unknown key 'lisen'"),
        ("pixel.listen", "/etc/x.toml: [pixel] listen is 'x', not an address to listen on"),
        ("pixel.page", "/etc/x.toml: [pixel] page is 'on'"),
        ("pixel.load_path", "/etc/x.toml: [pixel] path and load_path are the same"),
        ("kapacitor_url", "kapacitor_url is not an http or https address"),
        ("raw_bucket", "raw_bucket and rollup_bucket are the same"),
    ]
    for problem in resolve(document, environ, {}, path=FILE).problems:
        assert problem.error.hint


def test_what_follows_from_another_error_is_not_told() -> None:
    # Without a url neither of the two would be right; with a wrong one nothing is known of them.
    assert wrong({"url": 5, "write_url": "http://w:1", "kapacitor_url": "http://k:1"}) == [
        ("url", "/etc/x.toml: url is int, not a string or a list of strings")
    ]
    assert wrong({"pixel": {"path": 5, "load_path": "/count.gif"}}) == [
        ("pixel.path", "/etc/x.toml: [pixel] path is 5, not a string")
    ]
    assert wrong({"task": {"every": "0m", "offset": "1m"}})[0][0] == "task.every"


def test_the_error_raised_is_the_first_of_them(tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    file.write_text("timeout = 0\n[pixel]\npage = 5\n")
    made = settings.examine({}, config=file, environ={}, directory=tmp_path)
    assert [problem.key for problem in made.problems] == ["timeout", "pixel.page"]
    with pytest.raises(SettingsError) as caught:
        settings.load({}, config=file, environ={}, directory=tmp_path)
    assert caught.value.message == made.problems[0].error.message
    # What is wrong has its default, so that the rest can be looked at.
    assert (made.settings.timeout, made.settings.task) == (30, TaskSettings())


@pytest.mark.parametrize(
    ("document", "meant"),
    [
        ({"urll": "x"}, "'url'"),
        ({"Token-File": "x"}, "'token_file'"),
        ({"rawbucket": "x"}, "'raw_bucket'"),
        ({"pixle": {}}, "'pixel'"),
        ({"listen": "a:1"}, "listen under [pixel]"),
        ({"every": "15m"}, "every under [task]"),
        ({"pixel": {"domain": []}}, "'domains'"),
        ({"pixel": {"no-referer": "x"}}, "'no_referer'"),
        ({"schema": {"hitsfield": "x"}}, "'hits_field'"),
        ({"task": {"lookbak": 1}}, "'lookback'"),
        ({"colour": "x"}, ""),
    ],
)
def test_an_unknown_key_is_told_with_the_one_that_may_be_meant(document: dict[str, Any], meant: str) -> None:
    (problem,) = resolve(document, {}, {}, path=FILE).problems
    assert problem.error.hint.startswith(f"Did you mean {meant}? Allowed are: " if meant else "Allowed are: ")


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("PFA_FLUX_URI", "PFA_FLUX_URL"),
        ("PFA_FLUX_TOKENFILE", "PFA_FLUX_TOKEN_FILE"),
        ("PFA_FLUX_CONFG", "PFA_FLUX_CONFIG"),
        ("PFA_FLUX_XYZ", ""),
    ],
)
def test_an_unknown_variable_is_told_with_the_one_that_may_be_meant(name: str, meant: str) -> None:
    (problem,) = resolve({}, {name: "x"}, {}).problems
    assert (problem.key, problem.error.message) == (name, f"unknown environment variable {name}")
    start = f"Did you mean {meant!r}? " if meant else ""
    known = ", ".join(f"PFA_FLUX_{key.upper()}" for key in KEYS)
    assert problem.error.hint == f"{start}Known are: {known}, PFA_FLUX_CONFIG, PFA_FLUX_SYSTEM_CONFIG, PFA_FLUX_IGNORE."


def test_an_unknown_argument_is_told_with_the_one_that_may_be_meant() -> None:
    with pytest.raises(SettingsError, match="unknown setting 'urll'") as caught:
        resolve({}, {}, {"urll": "x"}).checked()
    assert caught.value.hint.startswith("Did you mean 'url'? Known are: url, ")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"a = 1\na = 2\n", "is not valid TOML at line 2, column 6: a key is there twice"),
        (b"[pixel]\n[pixel]\n", "is not valid TOML at line 2, column 7: [pixel] is there twice"),
        (b'[sites."a b"]\n[sites."a b"]\n', "is not valid TOML at line 2, column 13: [sites.a b] is there twice"),
        (b"url = \n", "is not valid TOML at line 1, column 7: invalid value"),
        (b"\xff", "cannot be read: it is not UTF-8"),
    ],
)
def test_a_file_that_cannot_be_understood_is_told_in_words(content: bytes, words: str, tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    file.write_bytes(content)
    with pytest.raises(SettingsError) as caught:
        settings.load({}, config=file, environ={}, directory=tmp_path)
    assert caught.value.message == f"{file} {words}"
    assert caught.value.hint


def test_a_token_file_that_cannot_be_read_is_told_in_words(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        read_token(tmp_path / "absent")
    assert caught.value.message == f"the token file {tmp_path}/absent cannot be read: No such file or directory"
    (tmp_path / "bytes").write_bytes(b"\xff\xfe\xfd")
    with pytest.raises(SettingsError) as caught:
        read_token(tmp_path / "bytes")
    assert caught.value.message == f"the token file {tmp_path}/bytes is not UTF-8"


@pytest.mark.parametrize("url", ["http://[", "http://[::1", "http://a]"])
def test_an_address_that_is_none_is_told_in_words(url: str) -> None:
    (problem,) = resolve({"url": url}, {}, {}, path=FILE).problems
    assert (problem.key, problem.error.message) == ("url", "url is no address")


_VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=9)
    | st.sampled_from(["~/a", "http://[", "15m"]),
    lambda deeper: st.lists(deeper, max_size=3) | st.dictionaries(st.text(max_size=5), deeper, max_size=3),
    max_leaves=5,
)
_DOCUMENTS = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys((*KEYS, *TABLES, "else"), _VALUES),
        **{name: _VALUES | st.dictionaries(st.sampled_from(keys), _VALUES) for name, keys in TABLES.items() if keys},
        "sites": _VALUES | st.dictionaries(st.text(max_size=5), st.fixed_dictionaries({"domains": _VALUES})),
    },
)


@given(_DOCUMENTS, st.dictionaries(st.sampled_from([*VARIABLES, "PFA_FLUX_X"]), st.text(max_size=9), max_size=3))
def test_whatever_is_given_is_right_or_told(document: dict[str, Any], environ: dict[str, str]) -> None:
    made = resolve(document, environ, {}, path=FILE)
    for problem in made.problems:
        assert isinstance(problem.error, PfaFluxError)
        assert (problem.error.message != "", problem.error.hint != "") == (True, True)
    assert [each.key for each in report(made).keys][: len(KEYS)] == list(KEYS)
