"""Answers Kubernetes over HTTP: `/healthz` while the process is alive, `/readyz` while it is of use."""

from __future__ import annotations

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Health:
    """A server of a thread of its own."""

    def __init__(self, port: int, readiness: Callable[[], tuple[bool, str]]) -> None:
        """Answer from now on, on all addresses; port 0 lets the system choose.

        `readiness` says whether it is of use now, and what it does. Raises OSError where the port is in use.
        """

        class Handler(BaseHTTPRequestHandler):
            timeout = 5  # seconds for a client that says nothing

            def do_GET(self) -> None:
                if self.path == "/healthz":
                    self._answer(200, "alive")
                elif self.path == "/readyz":
                    is_ready, what_it_does = readiness()
                    self._answer(200 if is_ready else 503, what_it_does)
                else:
                    self._answer(404, "there are /healthz and /readyz")

            def _answer(self, status: int, text: str) -> None:
                body = f"{text}\n".encode()
                self.send_response(status)
                self.send_header("Content-Type", "text/plain")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - as it is called
                """Log nothing: probes come every few seconds."""

        self._server = ThreadingHTTPServer(("", port), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, name="outrider-health", daemon=True).start()

    @property
    def port(self) -> int:
        """Where it answers."""
        return int(self._server.server_address[1])

    def close(self) -> None:
        """Answer no more."""
        self._server.shutdown()
        self._server.server_close()
