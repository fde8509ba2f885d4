"""Nodes of the demo stage; each output is a function that fills the folder of its dataset."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from trimood.config.parameters import DemoParams

Fill = Callable[[Path], None]


def make_corpus(demo: DemoParams) -> Fill:
    """Generates conversations of drawn faces with synthesised voices, annotated and stored in ECF 2.0's format."""
    from trimood.synthetic.corpus import write_corpus

    return partial(write_corpus, seed=demo.seed)


def make_checkpoints(demo: DemoParams) -> tuple[Fill, Fill]:
    """Generates tiny video and audio checkpoints in LanguageBind's format, pre-trained on captioned faces and voices.

    The video checkpoint is a pytorch_model.bin, as on the hub, the audio checkpoint a safetensors file.
    """
    from trimood.synthetic.checkpoints import make_pretrained, write_checkpoint

    video, audio = make_pretrained(demo.seed)
    return (
        partial(write_checkpoint, checkpoint=video, weight_format="bin"),
        partial(write_checkpoint, checkpoint=audio, weight_format="safetensors"),
    )


def make_text_encoder(demo: DemoParams) -> Fill:
    """Generates a tiny text encoder, a BERT with random weights, in the Hugging Face hub's format."""
    from trimood.synthetic.checkpoints import write_text_encoder

    return partial(write_text_encoder, seed=demo.seed)
