"""A web server of this machine that serves a folder well, or badly in one way."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote


class WebServer:
    """Serves files below a folder at ``/KIND/NAME``; what the kind is says what goes wrong."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.requests: list[tuple[str, str, str | None]] = []
        """Of each request: method, path with query, and its header Range."""
        self.logins: list[str | None] = []
        """Of each request its header Authorization."""
        self.sent = 0
        """Bytes of files that were sent."""
        self.elsewhere = ""
        """Where the kind `moved` leads."""
        self.failing = False
        """Whether every request is answered with 503."""
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.port = self._server.server_address[1]

    def url(self, name: str, kind: str = "good") -> str:
        """Address of a file."""
        return f"http://127.0.0.1:{self.port}/{kind}/{name}"

    def start(self) -> None:
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _handler(server) -> type[BaseHTTPRequestHandler]:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None: ...

            def do_HEAD(self) -> None:
                self._refuse(405)

            def do_GET(self) -> None:
                server.requests.append((self.command, self.path, self.headers.get("Range")))
                server.logins.append(self.headers.get("Authorization"))
                _, kind, name = unquote(self.path.partition("?")[0]).split("/", 2)
                again = [path for _, path, _ in server.requests].count(self.path) > 1
                if server.failing or (kind == "once" and not again):
                    return self._refuse(503)
                if kind.isdigit():
                    return self._refuse(int(kind))
                if kind == "moved":
                    return self._refuse(302, server.elsewhere or f"/good/{name}")
                if kind == "slow":
                    time.sleep(1.5)
                path = server.folder / name
                if not path.is_file():
                    return self._refuse(404)
                self._send(kind, path.read_bytes())

            def _send(self, kind: str, data: bytes) -> None:
                asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range") or "")
                body = data
                if asked and kind != "whole":
                    start, end = int(asked[1]), min(int(asked[2]) + 1, len(data))
                    if start >= len(data):
                        return self._refuse(416)
                    body = data[start:end]
                    self.send_response(206)
                    self.send_header("Content-Range", f"bytes {start}-{end - 1}/{len(data)}")
                else:
                    self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                tag = len(server.requests) if kind == "changing" else 1
                self.send_header("ETag", f'"{tag}"')
                self.send_header("Last-Modified", "Tue, 30 Jun 2020 16:41:49 GMT")
                self.end_headers()
                cut = kind == "cut"
                self.wfile.write(body[: len(body) // 2] if cut else body)
                server.sent += len(body)
                if cut:
                    self.close_connection = True

            def _refuse(self, status: int, location: str = "") -> None:
                self.send_response(status)
                if location:
                    self.send_header("Location", location)
                self.send_header("Content-Length", "0")
                self.end_headers()

        return Handler


@contextmanager
def serving(folder: Path) -> Iterator[WebServer]:
    """A server of a folder, for as long as it takes."""
    server = WebServer(folder)
    server.start()
    try:
        yield server
    finally:
        server.stop()
