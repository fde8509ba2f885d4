"""A small byte-level BPE vocabulary in CLIP's format, learnt from the demo's own sentences."""

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

START, END = "<|startoftext|>", "<|endoftext|>"
WORD_END = "</w>"
# How CLIP splits text (github.com/openai/CLIP, simple_tokenizer.py), in the terms of Python's own `re`.
PIECES = re.compile(r"'s|'t|'re|'ve|'m|'ll|'d|[^\W\d_]+|\d|(?:[^\s\w]|_)+")

Pair = tuple[str, str]


def learn_vocabulary(sentences: Iterable[str], merge_count: int) -> tuple[dict[str, int], list[Pair]]:
    """Up to `merge_count` merges of the most frequent pairs, and token → id; the end token has the highest id.

    In CLIP's order: bytes, bytes that end a word, merges by rank, start, end. Written out here because the trainer of
    `tokenizers` breaks ties differently from run to run.
    """
    byte_letters = _byte_letters()
    pieces = Counter(
        piece for text in sentences for piece in PIECES.findall(unicodedata.normalize("NFC", text).lower())
    )
    words = {_spell(piece, byte_letters): count for piece, count in pieces.items()}
    merges: list[Pair] = []
    while len(merges) < merge_count:
        pairs: Counter[Pair] = Counter()
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


def write_tokenizer(folder: Path, vocabulary: dict[str, int], merges: list[Pair]) -> None:
    """The four files of a CLIP tokenizer, as they lie beside the published checkpoints."""
    special = {"bos_token": START, "eos_token": END, "unk_token": END, "pad_token": END}
    settings = {**special, "tokenizer_class": "CLIPTokenizer", "model_max_length": 77, "do_lower_case": True}
    ranks = "".join(f"{first} {second}\n" for first, second in merges)
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False), encoding="utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n" + ranks, encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2), encoding="utf-8")
    (folder / "special_tokens_map.json").write_text(json.dumps(special, indent=2), encoding="utf-8")


def _byte_letters() -> list[str]:
    """A visible letter for each of the 256 bytes, by byte: itself if printable, else one from 256 upwards (GPT-2's)."""
    printable = {*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)}
    others = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) if byte in printable else chr(256 + others.index(byte)) for byte in range(256)]


def _spell(piece: str, byte_letters: list[str]) -> tuple[str, ...]:
    letters = [byte_letters[byte] for byte in piece.encode("utf-8")]
    return (*letters[:-1], letters[-1] + WORD_END)


def _merge(word: tuple[str, ...], pair: Pair) -> tuple[str, ...]:
    merged: list[str] = []
    for token in word:
        if merged and (merged[-1], token) == pair:
            merged[-1] += token
        else:
            merged.append(token)
    return tuple(merged)
