"""The demo's checkpoints: two as LanguageBind publishes them, pre-trained, and a small text encoder."""

import json
import re
import tempfile
import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Literal

import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import BertConfig, BertModel

from trimood.model.checkpoints import tokenize, tokenizer
from trimood.model.config import LanguageBindConfig
from trimood.synthetic.pretraining import pretrain
from trimood.synthetic.scenes import HEADS, HIDDEN, LAYERS, MLP, collect_sentences, config_json, play_voices, show_faces

START, END = "<|startoftext|>", "<|endoftext|>"
WORD_END = "</w>"
SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
# CLIP's pattern for splitting text (github.com/openai/CLIP, simple_tokenizer.py), for Python's `re`.
PIECES = re.compile(r"'s|'t|'re|'ve|'m|'ll|'d|[^\W\d_]+|\d|(?:[^\s\w]|_)+")

TokenPair = tuple[str, str]

SCENES = 512
TEMPLATE_REPEATS = 8  # how often each template sentence occurs among the texts
MERGES = 450

Format = Literal["bin", "safetensors"]


@dataclass(frozen=True)
class Checkpoint:
    """The content of a checkpoint folder."""

    config: LanguageBindConfig
    weights: dict[str, Tensor]
    vocabulary: dict[str, int]
    merges: list[TokenPair]


def learn_vocabulary(sentences: Iterable[str], merge_count: int) -> tuple[dict[str, int], list[TokenPair]]:
    """Up to `merge_count` merges of the most frequent pairs, and token → id; the end token has the highest id.

    In CLIP's order: bytes, bytes that end a word, merges by rank, start, end. Implemented here because the trainer of
    `tokenizers` breaks ties differently in each run.
    """
    byte_letters = _byte_letters()
    pieces = Counter(
        piece for text in sentences for piece in PIECES.findall(unicodedata.normalize("NFC", text).lower())
    )
    words = {_spell(piece, byte_letters): count for piece, count in pieces.items()}
    merges: list[TokenPair] = []
    while len(merges) < merge_count:
        pairs: Counter[TokenPair] = Counter()
        for word, count in words.items():
            for pair in pairwise(word):
                pairs[pair] += count
        if not pairs:
            break
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        words = {_merge(word, best): count for word, count in words.items()}
    letters = [*byte_letters, *(letter + WORD_END for letter in byte_letters)]
    tokens = dict.fromkeys([*letters, *(first + second for first, second in merges), START, END])
    return {token: number for number, token in enumerate(tokens)}, merges


def write_tokenizer(folder: Path, vocabulary: dict[str, int], merges: list[TokenPair]) -> None:
    """Writes the four files of a CLIP tokenizer, as in the published checkpoints."""
    special = {"bos_token": START, "eos_token": END, "unk_token": END, "pad_token": END}
    settings = {**special, "tokenizer_class": "CLIPTokenizer", "model_max_length": 77, "do_lower_case": True}
    ranks = "".join(f"{first} {second}\n" for first, second in merges)
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False), encoding="utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n" + ranks, encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2), encoding="utf-8")
    (folder / "special_tokens_map.json").write_text(json.dumps(special, indent=2), encoding="utf-8")


def _byte_letters() -> list[str]:
    """A visible letter for each of the 256 bytes, as in GPT-2: itself if printable, else one from 256 upwards."""
    printable = {*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)}
    others = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) if byte in printable else chr(256 + others.index(byte)) for byte in range(256)]


def _spell(piece: str, byte_letters: list[str]) -> tuple[str, ...]:
    letters = [byte_letters[byte] for byte in piece.encode("utf-8")]
    return (*letters[:-1], letters[-1] + WORD_END)


def _merge(word: tuple[str, ...], pair: TokenPair) -> tuple[str, ...]:
    merged: list[str] = []
    for token in word:
        if merged and (merged[-1], token) == pair:
            merged[-1] += token
        else:
            merged.append(token)
    return tuple(merged)


def make_pretrained(seed: int, scene_count: int = SCENES) -> tuple[Checkpoint, Checkpoint]:
    """The video and the audio checkpoint; the same seed gives the same weights on the same machine."""
    threads = torch.get_num_threads()
    # Floating-point sums depend on the number of threads; such small towers gain nothing from a second one.
    torch.set_num_threads(1)
    try:
        faces, voices = show_faces(scene_count, seed), play_voices(scene_count, seed)
        sentences = collect_sentences(TEMPLATE_REPEATS, seed)
        vocabulary, merges = learn_vocabulary([*faces.captions, *voices.captions, *sentences], MERGES)
        with tempfile.TemporaryDirectory() as folder:
            write_tokenizer(Path(folder), vocabulary, merges)
            clip = tokenizer(Path(folder))

        def to_ids(texts: list[str]) -> Tensor:
            ids = tokenize(clip, texts)
            # Attention is causal and the output is read at the first end token: later tokens only cost time.
            return ids[:, : int(ids.argmax(dim=-1).max()) + 1]

        video, audio = pretrain(faces, voices, sentences, to_ids, len(vocabulary), seed)
    finally:
        torch.set_num_threads(threads)
    first, second = (Checkpoint(model.config, model.state_dict(), vocabulary, merges) for model in (video, audio))
    return first, second


def write_checkpoint(folder: Path, checkpoint: Checkpoint, weight_format: Format) -> None:
    """Fills `folder` with config.json, tokenizer and weights: pytorch_model.bin, or model.safetensors."""
    (folder / "config.json").write_text(json.dumps(config_json(checkpoint.config), indent=2), encoding="utf-8")
    write_tokenizer(folder, checkpoint.vocabulary, checkpoint.merges)
    positions = torch.arange(checkpoint.config.vision.position_count)[None]  # a buffer that the published files have
    weights = {name: tensor.detach().clone() for name, tensor in checkpoint.weights.items()}
    weights["vision_model.embeddings.position_ids"] = positions
    if weight_format == "bin":
        torch.save(weights, folder / "pytorch_model.bin")
    else:
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def write_text_encoder(folder: Path, seed: int) -> None:
    """Fills `folder` with a BERT of random weights, in the hub's format: a vector for each word that the demo says.

    Words that it does not know are read letter by letter.
    """
    sentences = collect_sentences(TEMPLATE_REPEATS, seed)
    words = sorted({piece for text in sentences for piece in PIECES.findall(text.lower())})
    letters = sorted({*map(chr, range(ord("!"), ord("~") + 1)), *"".join(words)})
    vocabulary = [*SPECIAL_TOKENS, *dict.fromkeys([*letters, *(f"##{letter}" for letter in letters), *words])]
    sizes = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=HIDDEN,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        intermediate_size=MLP,
        max_position_embeddings=128,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = BertModel(sizes, add_pooling_layer=False)
    sizes.save_pretrained(folder)
    save_file(model.state_dict(), folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "vocab.txt").write_text("".join(f"{token}\n" for token in vocabulary), encoding="utf-8")
    settings = {"tokenizer_class": "BertTokenizer", "model_max_length": 128, "do_lower_case": True}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2), encoding="utf-8")
