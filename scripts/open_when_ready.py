"""Opens an address in the browser as soon as its server answers: python scripts/open_when_ready.py ADDRESS."""

import sys
import time
import urllib.error
import urllib.request
import webbrowser

PATIENCE_SECONDS = 120


def main(address: str) -> None:
    """Gives up without a word if nothing answers: the server has said why."""
    until = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < until:
        try:
            with urllib.request.urlopen(address, timeout=5):  # noqa: S310 - an address of this machine, of the Makefile
                break
        except (urllib.error.URLError, TimeoutError):
            time.sleep(0.5)
    else:
        return
    sys.stdout.write(f"Open {address}\n")
    webbrowser.open(address)


if __name__ == "__main__":
    main(sys.argv[1])
