"""nginx in front of the pixel: the configuration for the settings at hand.

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
    """A part of the configuration, by the block of nginx that it belongs in."""

    HTTP = "http"
    SERVER = "server"


# What stands in nginx's configuration for itself: no quotes, variables, or ends of anything.
_PLAIN = re.compile(r"[A-Za-z0-9/._:\[\]@+,=~-]+")
# Nothing that nginx decodes, merges or resolves before it looks for the location.
_PATH = re.compile(r"/|(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9._~-]+)+/?")
_HOST = re.compile(r"[A-Za-z0-9.-]+")

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

# Whose requests are answered and not counted: your own, bots and previews that say so. The pixel gets that word alone,
# and nothing that it is decided by.
geo $pfa_flux_own {{
    default "";
    # 192.0.2.7 own;
}}
map $http_user_agent $pfa_flux_skip {{
    default $pfa_flux_own;
    "~*preview|externalhit" preview;
    # Cubot makes telephones.
    "~*(?<!cu)bot\\b|crawl|spider|slurp" bot;
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
    proxy_set_header X-Purpose $http_x_purpose;
    proxy_set_header X-Moz $http_x_moz;
    proxy_set_header Sec-Fetch-Dest $http_sec_fetch_dest;
    proxy_set_header Sec-GPC $http_sec_gpc;
    proxy_set_header DNT $http_dnt;
    # Set or cleared, whatever a client sends.
    proxy_set_header X-Pfa-Skip $pfa_flux_skip;
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
    """Where nginx finds what listens at an address. `where` says where the address was given.

    Raises:
        SettingsError: it cannot be written in nginx's configuration.
    """
    if not _PLAIN.fullmatch(listen):
        raise SettingsError(
            f"{where} is {listen!r}, which nginx's configuration cannot hold",
            "Take letters, digits and /._-@+,=~ for the socket's path.",
        )
    return reached_at(listen)


def path_of(path: str, where: str) -> str:
    """A path that nginx takes as it is written. `where` says where it was given.

    Raises:
        SettingsError: it would be read otherwise.
    """
    if not _PATH.fullmatch(path):
        raise SettingsError(
            f"{where} is {path!r}, which nginx would read otherwise than is meant",
            "Take letters, digits and ._~- between single slashes.",
        )
    return path
