"""nginx in front of the pixel: the configuration for the settings at hand.

https://nginx.org/en/docs/http/ngx_http_proxy_module.html
"""

from __future__ import annotations

import enum
import re
from textwrap import indent

from pfa_flux.errors import SettingsError
from pfa_flux.pixel_settings import PixelSettings


class Part(enum.StrEnum):
    """A part of the configuration, by the block of nginx that it belongs in."""

    HTTP = "http"
    SERVER = "server"


# What stands in nginx's configuration for itself: no quotes, variables, or ends of anything.
_PLAIN = re.compile(r"[A-Za-z0-9/._:\[\]@+,=~-]+")
# Nothing that nginx decodes, merges or resolves before it looks for the location.
_PATH = re.compile(r"/|(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9._~-]+)+/?")
_HOST = re.compile(r"[A-Za-z0-9.-]+")
_ANY = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}

_HTTP = """\
# In http {{ }}: connections to the pixel stay open.
upstream pfa_flux_pixel {{
    server {server};
    keepalive 16;
}}

# The host as the browser sent it, with its port; HTTP/3 leaves $http_host empty.
map $http_host $pfa_flux_host {{
    ""      $host;
    default $http_host;
}}
"""

_LOCATION = """\
location = {path} {{
    # Nothing of a request is written down. At crit nginx would still name the visitor when the socket is missing.
    access_log off;
    error_log /dev/null crit;
    proxy_max_temp_file_size 0;
    # A body fits into memory or is refused.
    client_max_body_size 1k;
    client_body_buffer_size 1k;
    client_body_in_single_buffer on;

    # Only what is named here reaches the pixel: no cookie, address, body or query.
    proxy_pass_request_headers off;
    proxy_pass_request_body off;
    set $args "";
    proxy_set_header Content-Length "";
    proxy_set_header Connection "";
    proxy_set_header Host $pfa_flux_host;
    proxy_set_header Referer $http_referer;
    proxy_set_header Sec-Purpose $http_sec_purpose;
    proxy_set_header Purpose $http_purpose;
    proxy_set_header X-Moz $http_x_moz;
    proxy_set_header Sec-GPC $http_sec_gpc;
    proxy_set_header DNT $http_dnt;
{forwarded}
    proxy_http_version 1.1;
    proxy_cache off;
    # A request is sent once: a pixel that was killed before its answer may have counted it.
    proxy_next_upstream off;
    proxy_connect_timeout 2s;
    proxy_read_timeout 10s;
    proxy_pass http://pfa_flux_pixel{path};

    # While the pixel is down pages get their GIF all the same, with X-Pfa-Flux: down, and nothing is counted.
    proxy_intercept_errors on;
    error_page 502 503 504 =200 @pfa_flux_down;
}}
"""

_FORWARDED = """\
    # trust_proxy is set: the scheme of hits without a whole Referer.
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
# In each server {{ }} whose pages have the pixel:
{tags}"""

_DIRECT = """\
# In http {{ }}: a host for the pixel alone. The pages of the sites have:
{tags}server {{
    listen 80;
    # Pages on https need it on https, too:
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


def image(pixel: PixelSettings, direct: str = "") -> str:
    """The `<img>` of the pages.

    Args:
        pixel: settings of the pixel.
        direct: host of a direct link; empty for a path on the site's own host.
    """
    source, policy = _linked(pixel.path, direct)
    return f'<img src="{source}" referrerpolicy="{policy}" width="1" height="1" alt="">'


def script(pixel: PixelSettings, direct: str = "") -> str:
    """The script that counts JS loads, empty where there is no `load_path`. Arguments as of `image`."""
    if not pixel.load_path:
        return ""
    source, policy = _linked(pixel.load_path, direct)
    return f'<script>Object.assign(new Image(), {{referrerPolicy: "{policy}", src: "{source}"}})</script>'


def _linked(path: str, direct: str) -> tuple[str, str]:
    # Either policy beats the page's own where the browser lets it: docs/deployment.md has the table.
    return (f"https://{direct}{path}", "no-referrer-when-downgrade") if direct else (path, "same-origin")


def configuration(pixel: PixelSettings, *, part: Part | None = None, direct: str = "") -> str:
    """The part of nginx's configuration that passes requests to the pixel.

    Args:
        pixel: settings of the pixel.
        part: only what belongs in `http { }`, or only what belongs in `server { }`; both where None.
        direct: host that the pixel has to itself; then all of it belongs in `http { }`. Empty: a path on each site's
            own host.

    Raises:
        SettingsError: a setting or the host cannot be written in nginx's configuration.
    """
    if direct and not _HOST.fullmatch(direct):
        raise SettingsError(f"--direct is {direct!r}, not the name of a host", "Write for example stats.example.")
    upstream = _HTTP.format(server=_server(pixel.listen))
    locations = [
        _LOCATION.format(path=_path(path, key), forwarded=_FORWARDED if pixel.trust_proxy else "")
        for key, path in (("path", pixel.path), ("load_path", pixel.load_path))
        if path
    ]
    inner = "\n".join((*locations, _DOWN))
    tags = "".join(f"# {tag}\n" for tag in (image(pixel, direct), script(pixel, direct)) if tag)
    if direct:
        own = _DIRECT.format(tags=tags, host=direct, locations=indent(inner, "    "))
    else:
        own = _PROXIED_HEAD.format(tags=tags) + inner
    return {Part.HTTP: upstream, Part.SERVER: own, None: f"{upstream}\n{own}"}[part]


def _server(listen: str) -> str:
    """Where nginx finds what listens at an address."""
    if not _PLAIN.fullmatch(listen):
        raise SettingsError(
            f"[pixel] listen is {listen!r}, which nginx's configuration cannot hold",
            "Take letters, digits and /._-@+,=~ for the socket's path.",
        )
    if listen.startswith("unix:"):
        return listen
    host, _, port = listen.rpartition(":")
    return f"{_ANY.get(host, host)}:{port}"


def _path(path: str, key: str) -> str:
    if not _PATH.fullmatch(path):
        raise SettingsError(
            f"[pixel] {key} is {path!r}, which nginx would read otherwise than the pixel does",
            "Take letters, digits and ._~- between single slashes.",
        )
    return path
