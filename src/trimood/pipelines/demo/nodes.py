"""Steps of the demo stage; each output is a function that fills the folder which the catalog makes for it."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from trimood.config.parameters import DemoParams

Fill = Callable[[Path], None]


def make_corpus(demo: DemoParams) -> Fill:
    """Conversations of drawn faces with synthesised voices, annotated and laid out as ECF 2.0 is."""
    from trimood.synthetic.corpus import write_corpus

    return partial(write_corpus, seed=demo.seed)


def make_checkpoints(demo: DemoParams) -> tuple[Fill, Fill]:
    """Tiny video and audio checkpoints of LanguageBind's kind, pre-trained on captioned faces and voices.

    Their weights are in the two formats that users meet: pytorch_model.bin, as on the hub, and safetensors.
    """
    from trimood.synthetic.checkpoints import make_pretrained, write_checkpoint

    video, audio = make_pretrained(demo.seed)
    return (
        partial(write_checkpoint, checkpoint=video, weight_format="bin"),
        partial(write_checkpoint, checkpoint=audio, weight_format="safetensors"),
    )
