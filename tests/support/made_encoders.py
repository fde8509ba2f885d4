"""Tiny text encoders in the Hugging Face hub's format."""

import json
from pathlib import Path

import pytest
import torch
from transformers import (
    AutoModel,
    AutoTokenizer,
    BertConfig,
    DebertaV2Config,
    ModernBertConfig,
    MPNetConfig,
    PretrainedConfig,
    RobertaConfig,
)

from trimood.config.experiment_settings import Pooling
from trimood.model.classifier import EmotionClassifier, build_classifier, load_towers
from trimood.model.encoders import read_encoder
from trimood.synthetic.checkpoints import write_text_encoder

SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
WORDS = {"vocab_size": 400, "max_position_embeddings": 130, "pad_token_id": 0}

FAMILIES = [
    pytest.param(BertConfig(**WORDS, **SIZES), id="BERT"),
    pytest.param(RobertaConfig(**WORDS, **SIZES), id="RoBERTa"),
    pytest.param(MPNetConfig(**WORDS, **SIZES), id="MPNet"),
    pytest.param(DebertaV2Config(**WORDS, **SIZES, relative_attention=True, pos_att_type=["p2c", "c2p"]), id="DeBERTa"),
    pytest.param(
        ModernBertConfig(**WORDS, **SIZES, cls_token_id=2, sep_token_id=3, bos_token_id=2, eos_token_id=3),
        id="ModernBERT",
    ),
]


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


def built(folder: Path, pooling: Pooling = "mean", **kwargs: object) -> EmotionClassifier:
    """A classifier of words alone with the weights of the folder."""
    config, _ = read_encoder(folder, pooling)
    with torch.device("meta"):
        model = build_classifier(["text"], {"text": config}, **{"train": "everything", **kwargs})  # type: ignore[arg-type]
    load_towers(model, {"text": folder})
    return model.eval()
