"""Nodes of the demo stage; each output is a function that fills the folder of its dataset."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from trimood.config.parameters import DemoParams

Fill = Callable[[Path], None]


def make_corpus(demo: DemoParams) -> Fill:
    """Conversations of drawn faces with synthesised voices, annotated and stored as ECF 2.0."""
    from trimood.synthetic.corpus import write_corpus

    return partial(write_corpus, seed=demo.seed)


def make_checkpoints(demo: DemoParams) -> tuple[Fill, Fill]:
    """Tiny video and audio checkpoints in LanguageBind's format, pre-trained on captioned faces and voices.

    One has its weights as pytorch_model.bin, as on the hub, the other as safetensors.
    """
    from trimood.synthetic.checkpoints import make_pretrained, write_checkpoint

    video, audio = make_pretrained(demo.seed)
    return (
        partial(write_checkpoint, checkpoint=video, weight_format="bin"),
        partial(write_checkpoint, checkpoint=audio, weight_format="safetensors"),
    )
