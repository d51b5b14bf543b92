"""A real Chromium for the tests, which knows the hosts that it is told of and no others."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.chrome.service import Service

from tests.test_browser import FLAGS, PATIENCE, of_folder, until
from tests.webserver import program

_SCRIPTS = "profile.managed_default_content_settings.javascript"
_IMAGES = "profile.managed_default_content_settings.images"
_NEVER = 2


@contextmanager
def chromium(
    hosts: Mapping[str, int], *flags: str, scripts: bool = True, images: bool = True
) -> Iterator[webdriver.Chrome]:
    """A browser with a profile of its own.

    Args:
        hosts: ports of the loopback interface by HOST:PORT as the browser asks for them. Names are mapped before they
            are looked up, so `.onion`, which Chromium looks up nowhere, is a name like any other.
        flags: further ones of its command line.
        scripts: JavaScript is on; if not, it is off by the setting that its user has for that.
        images: they are on, likewise.
    """
    binary, driver = program("chromium"), program("chromedriver")
    with ExitStack() as stack:
        # A browser's sockets want a short name.
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pfa")))
        options = webdriver.ChromeOptions()
        options.binary_location = binary
        rules = [f"MAP {host} 127.0.0.1:{port}" for host, port in hosts.items()]
        for flag in (
            *FLAGS.split(),
            f"--user-data-dir={home}/profile",
            f"--host-resolver-rules={', '.join((*rules, 'MAP * ~NOTFOUND', 'EXCLUDE 127.0.0.1'))}",
            *flags,
        ):
            options.add_argument(flag)
        off = [name for name, on in ((_SCRIPTS, scripts), (_IMAGES, images)) if not on]
        options.add_experimental_option("prefs", dict.fromkeys(off, _NEVER))
        own = dict.fromkeys(("HOME", "TMPDIR", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"), str(home))
        service = Service(driver, env={**os.environ, **own})
        # The last of a browser's processes end a moment after it, and write to its folder until then.
        stack.callback(until, lambda: not of_folder(home))
        browser = webdriver.Chrome(options, service)
        stack.callback(browser.quit)
        browser.set_page_load_timeout(PATIENCE)
        yield browser
