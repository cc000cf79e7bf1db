"""The host names that the server answers to, as a protection against DNS rebinding.

A stranger's page may let its own host name resolve to 127.0.0.1. The browser then sends the page's
requests to this server and gives the answers to the page. Such requests have the stranger's host
name in the header "Host".
"""

import ipaddress
import re
import socket
from collections.abc import Iterable

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

# A name or an address, with any port, since ports may be forwarded.
_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[^\s:/?#@\[\]]+)(:[0-9]*)?", re.IGNORECASE)
_LOCAL = ("localhost", "127.0.0.1", "[::1]")


def hosts_of(address: str) -> list[str]:
    """Returns the host names of a server that listens at an address.

    These are the local names and the address itself. For a server that listens at all addresses,
    they are the local names, the machine's name, and every address: a stranger's page has a name.

    Args:
        address: An address such as "127.0.0.1", "::1", "example.org" or "0.0.0.0".
    """
    try:
        is_all = ipaddress.ip_address(address).is_unspecified
    except ValueError:
        is_all = False
    if is_all or not address:
        return [*_LOCAL, socket.gethostname(), "addresses"]
    return [*_LOCAL, f"[{address}]" if ":" in address else address]


class KnownHosts:
    """Middleware that refuses requests for unknown hosts.

    Args:
        app: The application that answers the other requests.
        hosts: Known names and addresses, IPv6 addresses in brackets; "addresses" for every
            address, "*" for any host.
    """

    def __init__(self, app: ASGIApp, hosts: Iterable[str]) -> None:
        self._app = app
        self._hosts = {host.lower() for host in hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuses a request or passes it on."""
        app = self._app
        if scope["type"] == "http" and not self._knows(scope):
            received = ", ".join(Headers(scope=scope).getlist("host"))[:100] or "none"
            error = (
                f"The header Host must name this server, received {received}: start it with "
                "--allowed-host NAME if that is one of its names."
            )
            app = JSONResponse({"error": error}, status_code=400)
        await app(scope, receive, send)

    def _knows(self, scope: Scope) -> bool:
        values = Headers(scope=scope).getlist("host")
        # HTTP/1.0 has no such header, and health checks of load balancers still use it.
        if "*" in self._hosts or (not values and scope["http_version"] == "1.0"):
            return True
        match = _HOST.fullmatch(values[0]) if len(values) == 1 else None
        if match is None:
            return False
        host = match[1].lower().removesuffix(".")
        return host in self._hosts or ("addresses" in self._hosts and _is_address(host))


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True
