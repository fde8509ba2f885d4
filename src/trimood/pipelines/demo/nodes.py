"""Steps of the demo stage; each output is a function that fills the folder which the catalog makes for it."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from trimood.parameters import DemoParams

Fill = Callable[[Path], None]


def make_corpus(demo: DemoParams) -> Fill:
    """Conversations of drawn faces with synthesised voices, annotated and laid out as ECF 2.0 is."""
    from trimood.pipelines.demo.corpus import write_corpus

    return partial(write_corpus, seed=demo.seed)
