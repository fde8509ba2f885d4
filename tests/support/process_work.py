"""What the processes of tests do: new processes find functions of modules alone."""

import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from trimood.disk import InUse


def diverge(_: Path, say: Callable[[Any], None]) -> None:
    logging.getLogger("trimood.test").info("it says %d", 1)
    raise InUse("it is in use")


def wait(_: Path, say: Callable[[Any], None]) -> None:
    say(os.getpid())
    time.sleep(600)


def session(options: Mapping[str, Any], meta: Mapping[str, Any]) -> str:
    sys.stdout.write(f"{options['seed']} {meta['seen']} {os.environ['DEVICE']}\n")
    sys.stdout.flush()
    if options["seed"] == 2:
        raise InUse("seed 2 is in use")
    if options["seed"] == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    if options["seed"] == 4:
        time.sleep(600)
    return f"seed {options['seed']}"
