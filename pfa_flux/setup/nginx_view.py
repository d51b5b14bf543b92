"""nginx configuration for the live page: a path with a password."""

from __future__ import annotations

from pfa_flux.errors import SettingsError
from pfa_flux.setup.nginx import path_of, server_of

DEFAULT_LISTEN = "127.0.0.1:8482"
"""Default address of the live page behind nginx."""

_LOCATION = """\
# Put this in the server {{ }} of the site, on https, because the browser sends the password. Create the file with
# htpasswd -c /etc/nginx/pfa-flux.htpasswd NAME
location {path} {{
    auth_basic "pfa-flux";
    auth_basic_user_file /etc/nginx/pfa-flux.htpasswd;
    access_log off;

    # The page needs only the requested address: no password, cookie, client address or body.
    proxy_pass_request_body off;
    proxy_set_header Content-Length "";
    proxy_set_header Authorization "";
    proxy_set_header Cookie "";
    proxy_set_header Connection "";
    # The page answers only requests for its own address, not for other names that resolve to it.
    proxy_set_header Host {host};
    proxy_http_version 1.1;
    proxy_read_timeout 120s;
    proxy_cache off;
    proxy_pass http://{host}/;
}}
"""


def location(path: str, listen: str = DEFAULT_LISTEN) -> str:
    """The nginx location of the live page.

    Args:
        path: path on the site, for example `/stats/`.
        listen: HOST:PORT on which `pfa-flux view` listens.

    Raises:
        SettingsError: the path or address cannot be written in nginx's configuration.
    """
    if path == "/" or not path.endswith("/"):
        raise SettingsError(f"--view is {path!r}, which is not a path for the page", "Use a path such as /stats/.")
    if listen.startswith("unix:"):
        raise SettingsError("--listen is a socket, but the live page needs HOST:PORT", f"Use {DEFAULT_LISTEN}.")
    return _LOCATION.format(path=path_of(path, "--view"), host=server_of(listen, "--listen"))
