"""What the processes of tests do: new processes find functions of modules alone."""

import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from trimood.disk import InUse


def diverge(_: Path, say: Callable[[Any], None]) -> None:
    logging.getLogger("trimood.test").info("it says %d", 1)
    raise InUse("it is in use")


def wait(_: Path, say: Callable[[Any], None]) -> None:
    say(os.getpid())
    time.sleep(600)
