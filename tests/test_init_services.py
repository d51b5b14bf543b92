"""`pfa-flux init --write` starts what it has written, in nginx's own files too, and only if asked to."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import pytest

from pfa_flux.setup.nginx_sites import blocks, files_of, with_include
from tests.cli import Result
from tests.initial import Terminal, run
from tests.test_init_write import FLAGS, Machine
from tests.webserver import program

SITE = """\
# The site's own. { not a block
server {
    listen 127.0.0.1:8099;   # }
    server_name example.i2p "www.example.i2p";
    location ~ \\.php$ { return 404 "a;b}"; }
    location / { return 200 ok; }
}
server { listen 127.0.0.1:8099; server_name other.i2p; location / { return 200 "${host}"; } }
server {
    listen 127.0.0.1:8099;
    server_name old.example.i2p;
    return 301 https://example.i2p$request_uri;
}
"""
FAKE = """#!/bin/sh
echo "systemctl $*" >> "$RECORD"
case "$*" in
  *is-system-running) echo "${SYSTEMD:-running}"; [ "${SYSTEMD:-running}" = running ] ;;
  *is-active*) [ -n "$ACTIVE" ] ;;
  *enable*) [ -z "$REFUSES" ] || { echo "Unit is masked." >&2; exit 1; } ;;
esac
"""


class Host(Machine):
    """A machine with an nginx that serves a site, and a systemctl that only writes down what it is asked."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.nginx, self.record = folder / "nginx", folder / "record"
        self.site = self.nginx / "sites-enabled/site"
        self.site.parent.mkdir()
        self.site.write_text(SITE)
        (self.nginx / "conf.d").mkdir()
        user = f"user {pwd.getpwuid(0).pw_name};" if os.geteuid() == 0 else ""
        temp = "".join(f"{kind}_temp_path {folder}/t-{kind};\n" for kind in ("client_body", "proxy", "fastcgi"))
        temp += "".join(f"{kind}_temp_path {folder}/t-{kind};\n" for kind in ("uwsgi", "scgi"))
        (self.nginx / "nginx.conf").write_text(
            f"{user}\npid {folder}/nginx.pid;\nerror_log {folder}/error.log;\nevents {{ }}\nhttp {{\n{temp}"
            f"access_log off;\ninclude conf.d/*.conf;\ninclude sites-enabled/*;\n}}\n"
        )
        (folder / "bin").mkdir()
        fake = folder / "bin/systemctl"
        fake.write_text(FAKE)
        fake.chmod(0o755)
        # The real nginx, but for its reload: none of this configuration runs.
        real = folder / "bin/nginx"
        real.write_text(
            '#!/bin/sh\necho "nginx $*" >> "$RECORD"\ncase "$*" in *reload*) exit 0;; esac\n'
            f'exec {program("nginx")} "$@"\n'
        )
        real.chmod(0o755)

    def set_up(self, *more: str, **environment: str) -> Result:
        flags = ("--data-dir", "data", "--domain", "example.i2p", "--loads", "script")
        env = {"PATH": f"{self.folder}/bin:{os.environ['PATH']}", "RECORD": str(self.record), **environment}
        return run(self.folder, "init", "--yes", *flags, *FLAGS, *more, env=env)

    def tree(self) -> dict[str, str | None]:
        """All that is there, but for what nginx and the record leave behind."""
        left = ("t-", "nginx.pid", "error.log", "record")
        return {name: text for name, text in super().tree().items() if not name.startswith(left)}

    @property
    def done(self) -> list[str]:
        """What systemctl and nginx were asked to do, without the looking."""
        lines = self.record.read_text().splitlines() if self.record.exists() else []
        return [
            line
            for line in lines
            if not line.endswith((" -T", "is-system-running", "is-active --quiet pfa-flux.service"))
        ]


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_blocks_are_read_as_nginx_reads_them() -> None:
    servers = [block for block in blocks(SITE) if block.kind == "server"]
    assert [block.values("server_name") for block in servers] == [
        ["example.i2p", "www.example.i2p"],
        ["other.i2p"],
        ["old.example.i2p"],
    ]
    assert servers[0].values("return") == []
    assert blocks("server { content_by_lua_block { if x then y = '}' end") == []
    assert blocks("}") == []
    dump = "# configuration file /a/b:\nx;\n\n# configuration file /c:\ny;\n\n# configuration file /c:\ny;\n"
    assert files_of(dump) == [Path("/a/b"), Path("/c")]


@pytest.mark.parametrize(
    ("domains", "served"),
    [
        (["example.i2p"], {"example.i2p", "www.example.i2p"}),
        (["*.example.i2p"], {"example.i2p", "www.example.i2p"}),
        (["other.i2p"], {"other.i2p"}),
        (["absent.i2p"], set()),
    ],
)
def test_the_server_of_a_domain_gets_the_line_once(domains: list[str], served: set[str], tmp_path: Path) -> None:
    path = tmp_path / "site"
    path.write_text(SITE)
    made, found = with_include(path, SITE, Path("/etc/nginx/snippets/pfa-flux.conf"), domains)
    assert (found, made is not None) == (served, bool(served))
    if made is not None:
        assert made.text.replace("    include /etc/nginx/snippets/pfa-flux.conf;\n", "") in (SITE, SITE.replace(
            "server { listen 127.0.0.1:8099; server_name other", "server {\n listen 127.0.0.1:8099; server_name other"
        ))  # fmt: skip
        assert made.text.count("include") == 1
        assert with_include(path, made.text, Path("/etc/nginx/snippets/pfa-flux.conf"), domains) == (None, served)


@pytest.mark.skipif(os.geteuid() != 0, reason="nginx's files are root's")
def test_root_gets_site_service_and_reload_and_all_of_it_undone(host: Host) -> None:
    before = host.tree()
    done = host.set_up("--include", "--enable")
    assert done.code == 0, done.err
    first = "server {\n    listen 127.0.0.1:8099;   #"
    with_line = first.replace("{\n", f"{{\n    include {host.layout.server};\n")
    assert host.site.read_text() == SITE.replace(first, with_line)
    conf = f"-c {host.nginx}/nginx.conf"
    assert host.done == [
        f"nginx {conf} -t",
        "systemctl daemon-reload",
        "systemctl enable --now pfa-flux.service",
        f"nginx {conf} -s reload",
    ]
    # Said before it is done.
    assert done.err.index("then: ") < done.err.index("done: ")
    *_, runs, pages, _view = done.out.splitlines()
    assert (runs, pages) == (
        "1. The pixel runs: systemctl status pfa-flux.service",
        f"2. At the end of each page put the tags in {host.layout.page}",
    )
    # A second run has nothing to change, and starts nothing anew.
    text = host.site.read_text()
    assert "+++" not in host.set_up("--include", "--enable", ACTIVE="1").err
    assert host.site.read_text() == text
    assert "systemctl restart pfa-flux.service" not in host.done
    assert host.set_up("--listen", "127.0.0.1:9999", "--enable", ACTIVE="1").code == 0
    assert "systemctl restart pfa-flux.service" in host.done
    # What the site has become since is kept.
    host.site.write_text(text.replace("return 200 ok", "return 200 fine"))
    assert f"{host.site}: its line removed\n" in host.remove().out
    assert host.site.read_text() == SITE.replace("return 200 ok", "return 200 fine")
    host.site.write_text(SITE)
    assert host.tree() == before


def test_on_a_terminal_each_step_is_asked_for(host: Host) -> None:
    flags = ("--data-dir", "data", "--url", "", "--site", "a=example.i2p", "--loads", "script", *FLAGS)
    terminal = Terminal(host.folder, *flags, PATH=f"{host.folder}/bin:{os.environ['PATH']}", RECORD=str(host.record))
    reload = "" if host.layout.user else ", and reload nginx"
    if not host.layout.user:
        terminal.answer(f"into the server {{ }} of example.i2p, www.example.i2p, in {host.site}? [Y/n]: ", "")
    terminal.answer(f"Start pfa-flux.service{reload}? [Y/n]: ", "")
    terminal.answer("Write these files? [Y/n]: ", "")
    assert terminal.end() == 0, terminal.shown
    assert any("enable --now pfa-flux.service" in line for line in host.done)
    assert ("include" in host.site.read_text()) == (not host.layout.user)


@pytest.mark.skipif(os.geteuid() != 0, reason="nginx's files are root's")
def test_what_nginx_refuses_is_taken_back(host: Host) -> None:
    # Someone else's upstream of the name.
    (host.nginx / "conf.d/other.conf").write_text("upstream pfa_flux_pixel { server 127.0.0.1:1; }\n")
    done = host.set_up("--include", "--enable")
    assert (done.code, "duplicate upstream" in done.err) == (1, True), done.err
    assert "nginx's files are as they were, and all else is written" in done.err
    assert host.site.read_text() == SITE
    assert not host.layout.http.exists()
    assert not any("enable" in line or "reload" in line for line in host.done)
    (host.nginx / "conf.d/other.conf").unlink()
    assert host.set_up("--include", "--enable").code == 0
    assert host.remove().code == 0
    assert host.site.read_text() == SITE


@pytest.mark.slow
def test_nothing_is_started_unasked(host: Host) -> None:
    assert host.set_up().code == 0
    assert (host.done, host.site.read_text()) == ([], SITE)


def test_without_systemd_it_is_refused_before_anything_is_written(host: Host) -> None:
    before = host.tree()
    done = host.set_up("--enable", SYSTEMD="offline")
    assert (done.code, done.out, host.tree()) == (1, "", before)
    assert done.err.endswith(f"start it yourself: pfa-flux serve --config {host.config}\n")


@pytest.mark.slow
def test_a_command_that_fails_is_named_with_its_words(host: Host) -> None:
    done = host.set_up("--enable", REFUSES="1")
    user = "--user " if host.layout.user else ""
    assert done.code == 1
    assert f"systemctl {user}enable --now pfa-flux.service failed: Unit is masked." in done.err
    assert done.err.endswith(f"systemctl {user}enable --now pfa-flux.service.\n")


@pytest.mark.slow
def test_no_server_for_a_domain_is_told(host: Host) -> None:
    host.site.write_text(SITE.replace("example.i2p", "another.i2p"))
    before = host.tree()
    done = host.set_up("--include")
    assert (done.code, done.out) == (1, "")
    assert host.tree() == before
    words = "--include changes nginx's files" if host.layout.user else "no server { } in nginx's files is for one"
    assert words in done.err


def test_include_and_enable_are_of_write(tmp_path: Path) -> None:
    for flag in ("--include", "--enable"):
        done = run(tmp_path, "init", "--yes", "--data-dir", "data", flag)
        assert (done.code, done.out, done.err.splitlines()[-1]) == (2, "", "Add --write.")
