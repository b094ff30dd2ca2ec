"""One page and one question over HTTP, for a person on this machine; nothing is stored or sent elsewhere."""

import ipaddress
import json
import socket
import sys
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from typing import Any, ClassVar
from urllib.parse import SplitResult, parse_qs, urlsplit

MAX_UPLOAD = 64 * 2**20
"""Bytes of an image."""
_MAX_DIGITS = 19
"""Of a number in a request; Python reads no more than 4300."""
Answer = Callable[[bytes, str, int | None], dict[str, Any]]
"""From a file's bytes, a method and a class, null for the most probable one, to JSON; ValueError says why not."""
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


class DemoServer(ThreadingHTTPServer):
    """Serves ``GET /``, the page, and ``POST /answer?method=NAME&class=INDEX`` with a file as its body.

    Where it listens on this machine alone, it answers only requests that name it so: a website that one visits cannot
    reach it under a name of its own (DNS rebinding).

    Args:
        host: An address or a name; 0.0.0.0 for all.
        port: 0 for any that is free.
        about: What the page is given.
        answer: Called once for each file that was sent.

    Raises:
        ValueError: If it cannot listen there.
    """

    daemon_threads = True

    def __init__(self, host: str, port: int, about: Mapping[str, Any], answer: Answer) -> None:
        self.answer, self.page = answer, _page(about)
        if ":" in host:
            self.address_family = socket.AF_INET6
        try:
            super().__init__((host, port), _Handler)
        except OSError as error:
            raise ValueError(
                f"host={host} port={port} cannot be listened on: {error.strerror}; port=0 takes a free port"
            ) from error
        shown = f"[{host}]" if ":" in host else host
        self.address = f"http://{shown}:{self.server_port}/"
        names = {f"{name}:{self.server_port}" for name in (shown, "127.0.0.1", "localhost", "[::1]")}
        self.hosts = names if _is_loopback(str(self.server_address[0])) else None
        """What a request may call this server; null for anything."""

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - a socket, and its own kind of address
        """Say nothing where the browser has gone away."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    server: DemoServer
    server_version, sys_version = "camloc", ""
    timeout = 60
    _JSON: ClassVar[str] = "application/json"

    def do_GET(self) -> None:
        asked = self._asked()
        if asked is None:
            return
        if asked.path == "/":
            self._send(HTTPStatus.OK, "text/html; charset=utf-8", self.server.page)
        else:
            self._fail(HTTPStatus.NOT_FOUND, "there is one page, /")

    def do_POST(self) -> None:
        asked = self._asked()
        if asked is None:
            return
        length = self.headers.get("Content-Length", "")
        if asked.path != "/answer":
            self._fail(HTTPStatus.NOT_FOUND, "images are sent to /answer")
        elif not length.isdecimal():
            self._fail(HTTPStatus.LENGTH_REQUIRED, "the request does not say how long the file is")
        elif len(length) > _MAX_DIGITS:
            self._fail(HTTPStatus.BAD_REQUEST, "the length of the file is no number that a file can have")
        elif int(length) > MAX_UPLOAD:
            self._fail(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the file is larger than {MAX_UPLOAD // 2**20} MiB")
        else:
            self._answer(self.rfile.read(int(length)), parse_qs(asked.query))

    def _answer(self, encoded: bytes, query: Mapping[str, list[str]]) -> None:
        method, index = (query.get(name, [""])[0] for name in ("method", "class"))
        try:
            if index and not index.isdecimal():
                raise ValueError(f"class={index} is no number")  # noqa: TRY301 - said as whatever else is wrong
            found = self.server.answer(encoded, method, int(index) if index else None)
        except (OSError, ValueError) as error:
            self._fail(HTTPStatus.BAD_REQUEST, str(error))
        except Exception as error:  # noqa: BLE001 - a network of anyone's: the page says it, and goes on
            self._fail(HTTPStatus.INTERNAL_SERVER_ERROR, f"{type(error).__name__}: {error}")
        else:
            self._send(HTTPStatus.OK, self._JSON, json.dumps(found).encode())

    def _asked(self) -> SplitResult | None:
        """Return the address that is asked for; null, answered, where it is none or another website asks.

        A browser may have both open.
        """
        host, origin = self.headers.get("Host", ""), self.headers.get("Origin")
        known = self.server.hosts is None or host in self.server.hosts
        if not known or origin not in (None, f"http://{host}"):
            self._fail(HTTPStatus.FORBIDDEN, "this page answers its own address alone")
            return None
        try:
            return urlsplit(self.path)
        except ValueError:
            self._fail(HTTPStatus.BAD_REQUEST, "this is no address")
            return None

    def _fail(self, status: HTTPStatus, reason: str) -> None:
        self.close_connection = True  # what is left of the request is not read
        self._send(status, self._JSON, json.dumps({"error": reason}).encode())

    def _send(self, status: HTTPStatus, kind: str, content: bytes) -> None:
        self.send_response(status)
        for name, value in {**_HEADERS, "Content-Type": kind, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name that it has there
        """Say nothing: the terminal is the user's."""


def _page(about: Mapping[str, Any]) -> bytes:
    report = files("camloc.report")
    text = report.joinpath("demo.html").read_text(encoding="utf-8")
    style = report.joinpath("style.html").read_text(encoding="utf-8")
    # "<" would end the script where a name holds "</script>".
    given = json.dumps(about).replace("<", "\\u003c")
    return text.replace("{{ style }}", style).replace("{{ about }}", given).encode()


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False
