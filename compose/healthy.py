"""Says by its exit code whether a container's service answers 200: `python -IS healthy.py PORT PATH`.

It is asked every few seconds for as long as a container lives, so it imports next to nothing.
"""

import socket
import sys


def status(port: int, path: str) -> bytes:
    """Return the status with which this host's port answers a GET; raise `OSError` where nobody does in time."""
    with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
        connection.sendall(f"GET {path} HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
        line = connection.makefile("rb").readline()
    return line.split(b" ")[1] if line.startswith(b"HTTP/") else b""


if __name__ == "__main__":
    sys.exit(status(int(sys.argv[1]), sys.argv[2]) != b"200")
