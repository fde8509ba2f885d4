"""How far a long work is: a bar on a terminal, a line now and then in a log file."""

import logging
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

log = logging.getLogger(__name__)

LINE_SECONDS = 30.0
"""How often a log file is told."""

Item = TypeVar("Item")


def followed(items: Iterable[Item], total: int, doing: str, line_seconds: float = LINE_SECONDS) -> Iterator[Item]:
    """The items as they are; speed and remaining time are shown on the way."""
    if sys.stderr.isatty():
        yield from tqdm(items, total=total, desc=doing, unit="clip", smoothing=0.05)
        return
    start = told = time.monotonic()
    for number, item in enumerate(items, 1):
        yield item
        now = time.monotonic()
        if now - told >= line_seconds and number < total:
            told = now
            per_second = number / (now - start)
            left_seconds = (total - number) / per_second
            log.info(
                "%s: %s of %s, %.1f clips a second, about %s left",
                doing,
                f"{number:,}",
                f"{total:,}",
                per_second,
                duration(left_seconds),
            )


def duration(seconds: float) -> str:
    """A length of time as a person says it: 40 s, 12 min, 3 h 5 min."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"
