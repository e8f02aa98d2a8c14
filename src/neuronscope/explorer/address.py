"""An address to listen on, tried before anything is loaded: what cannot be is said in one sentence."""

from __future__ import annotations

import socket

from ..errors import InvalidOption

#: Where the search for a free port begins, and how many are tried.
FIRST_PORT, PORTS = 7860, 100


class InvalidHost(InvalidOption):
    """An address that is none of this machine's."""


def free_port(host: str, port: int | None = None) -> int:
    """A port that can be listened on: `port`, or the first free one from 7860 on.

    Raises InvalidHost for an address that this machine does not have, and InvalidOption where the port is taken, or all
    hundred are.
    """
    family, address = _resolved(host)
    for wanted in range(FIRST_PORT, FIRST_PORT + PORTS) if port is None else (port,):
        with socket.socket(family, socket.SOCK_STREAM) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                trial.bind((address, wanted))
                trial.listen()
            except OSError as error:
                if port is not None:
                    raise InvalidOption(
                        f"port {port} on {host} cannot be listened on: {error.strerror or error}"
                    ) from error
                continue
            return wanted
    raise InvalidOption(f"none of the ports {FIRST_PORT} to {FIRST_PORT + PORTS - 1} on {host} is free; give --port")


def is_taken(host: str, port: int) -> bool:
    """Whether a port cannot be listened on."""
    try:
        free_port(host, port)
    except InvalidOption:
        return True
    return False


def _resolved(host: str) -> tuple[socket.AddressFamily, str]:
    """Family and address of a host. Raises InvalidHost where nobody can listen on any port of it."""
    if not host.strip("[] "):
        raise InvalidHost(f"--host {host!r} is no address; 0.0.0.0 listens on all of this machine's")
    try:
        family, _, _, _, (address, *_) = socket.getaddrinfo(host.strip("[]"), None, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, socket.SOCK_STREAM) as trial:
            trial.bind((address, 0))
    except (OSError, UnicodeError, ValueError) as error:  # the last for a zero byte in a name
        reason = getattr(error, "strerror", None) or error
        raise InvalidHost(f"--host {host!r} cannot be listened on: {reason}") from error
    return family, str(address)
