"""Runs a server, and opens an address in the browser as soon as it answers: open_when_ready.py ADDRESS COMMAND…"""

import socket
import subprocess
import sys
import time
import urllib.request
import webbrowser
from collections.abc import Sequence
from http.client import HTTPException
from urllib.parse import urlsplit


def main(address: str, command: Sequence[str]) -> int:
    """Returns the exit code of the server. Raises SystemExit if another program answers at its port."""
    at = urlsplit(address)
    with socket.socket() as asked:
        if asked.connect_ex((str(at.hostname), at.port or 80)) == 0:
            sys.exit(
                f"port {at.port}: in use by another program. Stop that, or give another port: make viz VIZ_PORT=4142"
            )
    server = subprocess.Popen(command)  # noqa: S603 - the Makefile's
    try:
        while server.poll() is None:
            if answers(address):
                sys.stdout.write(f"Open {address}\n")
                webbrowser.open(address)
                break
            time.sleep(0.2)
        return server.wait()
    except KeyboardInterrupt:  # a terminal sends it to the server, too
        return server.wait()


_without_a_proxy = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # the address is of this machine


def answers(address: str) -> bool:
    """Whether something is served there."""
    try:
        with _without_a_proxy.open(address, timeout=5):
            return True
    except (OSError, HTTPException):
        return False


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
