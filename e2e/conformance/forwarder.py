"""A port on loopback that leads to a Service: bytes are passed on as they are."""

import contextlib
import socket
import socketserver
import threading
from collections.abc import Iterator


class _Handler(socketserver.BaseRequestHandler):
    target: tuple[str, int]

    def handle(self) -> None:
        near: socket.socket = self.request
        with contextlib.suppress(OSError), socket.create_connection(self.target, timeout=10) as far:
            far.settimeout(None)
            back = threading.Thread(target=_pump, args=(far, near), daemon=True)
            back.start()
            _pump(near, far)
            back.join()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while some := source.recv(65536):
            sink.sendall(some)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False


@contextlib.contextmanager
def forwarded(address: str, port: int) -> Iterator[int]:
    """Forwards a free port of 127.0.0.1 to an address, and yields it."""
    handler = type("_Forward", (_Handler,), {"target": (address, port)})
    with _Server(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
