"""Tiny text encoders in the Hugging Face hub's format."""

import json
from pathlib import Path

import pytest
import torch
from transformers import AutoModel, AutoTokenizer, PretrainedConfig

from trimood.synthetic.checkpoints import write_text_encoder

SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}


@pytest.fixture(scope="session")
def encoder_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's text encoder, a BERT."""
    folder = tmp_path_factory.mktemp("encoder")
    write_text_encoder(folder, seed=1)
    return folder


def made_encoder(folder: Path, config: PretrainedConfig, tokenizer: Path) -> Path:
    """An encoder of another family with random weights; its vocabulary is that of the folder `tokenizer`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        AutoModel.from_config(config).save_pretrained(folder)
    AutoTokenizer.from_pretrained(tokenizer).save_pretrained(folder)
    return folder


def change(path: Path, **values: object) -> None:
    """Changes values of a JSON file; None removes one."""
    content = {**json.loads(path.read_text()), **values}
    path.write_text(json.dumps({name: value for name, value in content.items() if value is not None}))
