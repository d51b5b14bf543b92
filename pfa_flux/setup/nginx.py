"""nginx in front of the pixel: its configuration, from the settings.

https://nginx.org/en/docs/http/ngx_http_proxy_module.html
"""

from __future__ import annotations

import enum
import re
from textwrap import indent

from pfa_flux.errors import SettingsError
from pfa_flux.settings.pixel import PixelSettings, reached_at
from pfa_flux.setup.tags import tags as of_pages


class Part(enum.StrEnum):
    """A part of the configuration, named after the nginx block that it belongs to."""

    HTTP = "http"
    SERVER = "server"


# Text that means itself in nginx's configuration: no quotes, variables, or delimiters.
_PLAIN = re.compile(r"[A-Za-z0-9/._:\[\]@+,=~-]+")
# Nothing that nginx decodes, merges or resolves before it chooses a location.
_PATH = re.compile(r"/|(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9._~-]+)+/?")
_HOST = re.compile(r"[A-Za-z0-9.-]+")

_HTTP = """\
# In http {{ }}: keeps connections to the pixel open.
upstream pfa_flux_pixel {{
    server {server};
    keepalive 16;
}}

# The host as sent by the browser, with its port. HTTP/3 leaves $http_host empty.
map $http_host $pfa_flux_host {{
    ""      $host;
    default $http_host;
}}

# Requests that are answered but not counted: your own, and bots and previews that say so. The pixel gets only the
# keyword, not the address or user agent.
geo $pfa_flux_own {{
    default "";
    # 192.0.2.7 own;
}}
map $http_user_agent $pfa_flux_skip {{
    default $pfa_flux_own;
    "~*preview|externalhit" preview;
    # Cubot is a brand of phones.
    "~*(?<!cu)bot\\b|crawl|spider|slurp" bot;
}}
"""

_LOCATION = """\
location = {path} {{
    # Log nothing about a request. At crit, nginx would still log the visitor if the socket were missing.
    access_log off;
    error_log /dev/null crit;
    proxy_max_temp_file_size 0;
    # A body either fits into memory or is refused.
    client_max_body_size 1k;
    client_body_buffer_size 1k;
    client_body_in_single_buffer on;

    # Only these headers reach the pixel: no cookie, address, body or query.
    proxy_pass_request_headers off;
    proxy_pass_request_body off;
    set $args "";
    proxy_set_header Content-Length "";
    proxy_set_header Connection "";
    proxy_set_header Host $pfa_flux_host;
    proxy_set_header Referer $http_referer;
    proxy_set_header Sec-Purpose $http_sec_purpose;
    proxy_set_header Purpose $http_purpose;
    proxy_set_header X-Purpose $http_x_purpose;
    proxy_set_header X-Moz $http_x_moz;
    proxy_set_header Sec-Fetch-Dest $http_sec_fetch_dest;
    proxy_set_header Sec-GPC $http_sec_gpc;
    proxy_set_header DNT $http_dnt;
    # Always set or cleared, so clients cannot set it.
    proxy_set_header X-Pfa-Skip $pfa_flux_skip;
{forwarded}
    proxy_http_version 1.1;
    proxy_cache off;
    # Send each request only once: a pixel that was killed before its answer may have counted it.
    proxy_next_upstream off;
    proxy_connect_timeout 2s;
    proxy_read_timeout 10s;
    proxy_pass http://pfa_flux_pixel{path};

    # While the pixel is down, pages still get a GIF, with X-Pfa-Flux: down. Nothing is counted.
    proxy_intercept_errors on;
    error_page 502 503 504 =200 @pfa_flux_down;
}}
"""

_FORWARDED = """\
    # trust_proxy is set: pass on the scheme, for hits without a full Referer.
    proxy_set_header X-Forwarded-Proto $scheme;
"""

_DOWN = """\
location @pfa_flux_down {
    access_log off;
    error_log /dev/null crit;
    add_header Cache-Control no-store always;
    add_header X-Pfa-Flux down always;
    empty_gif;
}
"""

_PROXIED_HEAD = """\
# In each server {{ }} whose pages have the pixel. The tags for these pages:
{tags}"""

_DIRECT = """\
# In http {{ }}: a separate host for the pixel. The tags for the pages:
{tags}server {{
    listen 80;
    # For pages on https, use https here, too:
    # listen 443 ssl;
    # ssl_certificate     /etc/ssl/{host}.pem;
    # ssl_certificate_key /etc/ssl/{host}.key;
    server_name {host};
    access_log off;
    error_log /dev/null crit;

{locations}
    location / {{
        return 404;
    }}
}}
"""


def configuration(pixel: PixelSettings, *, part: Part | None = None, direct: str = "") -> str:
    """The part of nginx's configuration that passes requests to the pixel.

    Args:
        pixel: settings of the pixel.
        part: only the part for `http { }` or for `server { }`; None for both.
        direct: separate host of the pixel, for which everything belongs in `http { }`; empty for a path on each site's
            own host.

    Raises:
        SettingsError: a setting or the host cannot be written in nginx's configuration.
    """
    if direct and not _HOST.fullmatch(direct):
        raise SettingsError(f"--direct is {direct!r}, which is not a host name", "Use a name such as stats.example.")
    upstream = _HTTP.format(server=server_of(pixel.listen, "[pixel] listen"))
    locations = [
        _LOCATION.format(path=path_of(path, f"[pixel] {key}"), forwarded=_FORWARDED if pixel.trust_proxy else "")
        for key, path in (("path", pixel.path), ("load_path", pixel.load_path))
        if path
    ]
    inner = "\n".join((*locations, _DOWN))
    tags = indent(of_pages(pixel, direct), "# ") + "\n"
    if direct:
        own = _DIRECT.format(tags=tags, host=direct, locations=indent(inner, "    "))
    else:
        own = _PROXIED_HEAD.format(tags=tags) + inner
    return {Part.HTTP: upstream, Part.SERVER: own, None: f"{upstream}\n{own}"}[part]


def server_of(listen: str, where: str) -> str:
    """Address under which nginx reaches a listening address. `where` names its origin.

    Raises:
        SettingsError: the address cannot be written in nginx's configuration.
    """
    if not _PLAIN.fullmatch(listen):
        raise SettingsError(
            f"{where} is {listen!r}, which nginx's configuration cannot contain",
            "Use letters, digits and /._-@+,=~ for the socket's path.",
        )
    return reached_at(listen)


def path_of(path: str, where: str) -> str:
    """A path that nginx matches as written. `where` names its origin.

    Raises:
        SettingsError: nginx would read the path differently.
    """
    if not _PATH.fullmatch(path):
        raise SettingsError(
            f"{where} is {path!r}, which nginx would read differently",
            "Use letters, digits and ._~- between single slashes.",
        )
    return path
