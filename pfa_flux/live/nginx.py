"""nginx in front of the live page: under a path, with a password."""

from __future__ import annotations

from pfa_flux.errors import SettingsError
from pfa_flux.hits.nginx import path_of, server_of

DEFAULT_LISTEN = "127.0.0.1:8482"
"""Where the page listens behind nginx, unless said otherwise."""

_LOCATION = """\
# In the server {{ }} that the page belongs to, on https: the password goes over the wire. Make the file with
#   htpasswd -c /etc/nginx/pfa-flux.htpasswd NAME
location {path} {{
    auth_basic "pfa-flux";
    auth_basic_user_file /etc/nginx/pfa-flux.htpasswd;
    access_log off;

    # The page needs nothing but the address that was asked for: no password, cookie, address or body.
    proxy_pass_request_body off;
    proxy_set_header Content-Length "";
    proxy_set_header Authorization "";
    proxy_set_header Cookie "";
    proxy_set_header Connection "";
    # It answers to its own address, and to no name that somebody lets lead to it.
    proxy_set_header Host {host};
    proxy_http_version 1.1;
    proxy_read_timeout 120s;
    proxy_cache off;
    proxy_pass http://{host}/;
}}
"""


def location(path: str, listen: str = DEFAULT_LISTEN) -> str:
    """The location that the live page is under.

    Args:
        path: path of the site that it is under, `/stats/` for example.
        listen: HOST:PORT where `pfa-flux view` listens.

    Raises:
        SettingsError: the path or address cannot be written in nginx's configuration.
    """
    if path == "/" or not path.endswith("/"):
        raise SettingsError(f"--view is {path!r}, not a path that the page can be under", "Write for example /stats/.")
    if listen.startswith("unix:"):
        raise SettingsError("--listen is a socket, and the live page listens on HOST:PORT", f"Write {DEFAULT_LISTEN}.")
    return _LOCATION.format(path=path_of(path, "--view"), host=server_of(listen, "--listen"))
