"""Embeddings of frozen towers: computed once, and kept on disk for every training, evaluation, seed and search."""

import hashlib
import json
import logging
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

import numpy as np
import safetensors.numpy
import torch
import transformers
from torch import Tensor
from torch.utils.data import DataLoader
from tqdm import tqdm

from trimood.disk import DiskFull, remove_leftovers, written_whole
from trimood.emotions import Modality, Source
from trimood.learning.batches import INPUTS, Examples, collate
from trimood.learning.setup import LoadedModel
from trimood.model.classifier import EmotionClassifier
from trimood.model.encoders import WIDTH_STEP
from trimood.model.memory import PREDICTION_REMEDY, memory_explained
from trimood.model.stored import code_version, with_padding, without_padding
from trimood.model.trained import parameter_counts

log = logging.getLogger(__name__)

AT_ONCE = 256
"""About so many utterances are embedded before they are kept; an interruption loses no more."""


@dataclass(frozen=True)
class EmbeddingCache:
    """A folder of embeddings, which holds at most `most_gigabytes` and can be deleted at any time.

    A file has utterances of one kind (`_kind`): `contents` [utterance, 16] uint8 of `Examples.contents`, and
    `embeddings` [utterance, projection_dim] float32. Of states, `embeddings` has one row for each that is no padding,
    [state, projection_dim + 1], and `counts` [utterance] int64 says how many an utterance has. A file is called
    KIND-DIGEST.safetensors by the digest of its own bytes, so a damaged file is noticed, and two commands that write
    the same file do not disturb each other.
    """

    folder: Path
    most_gigabytes: float

    def load(self, kind: str, wanted: Collection[bytes]) -> dict[bytes, np.ndarray]:
        """Returns those of the `wanted` embeddings that are kept, by content; removes damaged files."""
        found: dict[bytes, np.ndarray] = {}
        for path in sorted(self.folder.glob(f"{kind}-*.safetensors")) if wanted else ():
            with suppress(OSError):  # another command has just removed it, or it belongs to another user
                content = path.read_bytes()
                if path.name != _file_name(kind, content):
                    log.warning("%s is damaged: it is removed, and its embeddings are computed again", path)
                    path.unlink()
                    continue
                kept = safetensors.numpy.load(content)
                own = kept["embeddings"]
                own = np.split(own, kept["counts"].cumsum()[:-1]) if "counts" in kept else own
                rows = dict(zip(map(bytes, kept["contents"]), own, strict=True))
                if used := {name: rows[name] for name in rows.keys() & wanted}:
                    found |= used
                    os.utime(path)  # those that were unused for longest are removed first
        return found

    def keep(self, kind: str, embeddings: Mapping[bytes, np.ndarray]) -> bool:
        """Writes a file of embeddings, by content. If that fails, logs it and returns False: nothing depends on it."""
        contents = np.frombuffer(b"".join(embeddings), dtype=np.uint8).reshape(len(embeddings), -1)
        rows = [*embeddings.values()]
        if rows[0].ndim > 1:
            arrays = {"embeddings": np.concatenate(rows), "counts": np.array([len(of) for of in rows])}
        else:
            arrays = {"embeddings": np.stack(rows)}
        content = safetensors.numpy.save({"contents": contents, **arrays})
        try:
            with written_whole(self.folder / _file_name(kind, content), outlasts_power=False) as beside:
                beside.write_bytes(content)
        except (DiskFull, OSError) as error:
            log.warning("embeddings cannot be kept for the next run: %s", error)
            return False
        return True

    def make_room(self) -> None:
        """Removes the files that were unused for longest until the others have at most `most_gigabytes`."""
        remove_leftovers(self.folder)
        sizes: dict[Path, int] = {}
        used: dict[Path, float] = {}
        for path in self.folder.glob("*.safetensors"):
            with suppress(OSError):
                state = path.stat()
                sizes[path], used[path] = state.st_size, state.st_mtime
        total, removed = sum(sizes.values()), 0
        for path in sorted(used, key=used.__getitem__):
            if total <= self.most_gigabytes * 1e9:
                break
            with suppress(OSError):
                path.unlink()
                removed += 1
            total -= sizes[path]
        if removed:
            words = "%s: %d files that were unused for longest are removed, to keep embeddings.cache_gigabytes=%g"
            log.info(words, self.folder, removed, self.most_gigabytes)


def embed_frozen(
    loaded: LoadedModel,
    examples: Examples,
    checkpoints: Mapping[Source, str],
    cache: EmbeddingCache,
    batch_size: int,
    half: torch.dtype | None = None,
) -> Examples:
    """Returns the examples with embeddings in place of the inputs of frozen towers, whose embeddings never change.

    An embedding is computed only if the cache lacks it. Examples for training keep an input that augmentation changes,
    or whose tower has dropout. `checkpoints`: their digests. `half`: embed under autocast to this type, as a training
    with fp16 or bf16 does. All batches have `batch_size` rows, so that an embedding does not depend on how many others
    are computed with it; for a few sizes, its place in the batch changes its last bit.
    """
    model, embeddings = loaded.model, {}
    counts = parameter_counts(model)
    for modality in model.modalities:
        trained, _ = counts[modality]
        if not trained and not (examples.is_for_training and _is_random(model, examples, modality)):
            kind = _kind(model, modality, checkpoints, batch_size, half)
            embeddings[modality] = _embed_once(model, modality, examples, cache, kind, batch_size, half)
    if embeddings:
        cache.make_room()
    return examples.with_embeddings(embeddings)


def _embed_once(
    model: EmotionClassifier,
    modality: Modality,
    examples: Examples,
    cache: EmbeddingCache,
    kind: str,
    batch_size: int,
    half: torch.dtype | None,
) -> Tensor:
    """What the head reads of a modality, from the cache after what it lacks was added; zero for an absent input."""
    contents = examples.contents(modality)
    present = [content for content in contents if content]
    known = cache.load(kind, set(present))
    missing = [content for content in present if content not in known]
    words = "the %s tower is frozen: %d utterances, %d embedded before, %d to embed"
    log.info(words, modality, len(present), len(present) - len(missing), len(missing))
    rows: dict[bytes, int] = {}
    for row, content in enumerate(contents):
        if content and content not in known:
            rows.setdefault(content, row)  # of equal ones, the first is embedded
    is_kept = True
    for some in _computed(model, modality, examples, rows, batch_size, half):
        is_kept = is_kept and cache.keep(kind, some)
        known |= some
    if model.reads_states:
        nothing = np.zeros((0, model.embedding_size(modality) + 1), dtype=np.float32)
        own = [known[content] if content else nothing for content in contents]
        counts = np.array([len(of) for of in own], dtype=int)
        return torch.from_numpy(with_padding(np.concatenate([nothing, *own]), counts))
    table = np.zeros((len(contents), model.embedding_size(modality)), dtype=np.float32)
    for row, content in enumerate(contents):
        if content:
            table[row] = known[content]
    return torch.from_numpy(table)


def _is_random(model: EmotionClassifier, examples: Examples, modality: Modality) -> bool:
    if modality == "text" and model.encoder:
        return False  # a frozen one draws nothing
    config = model.tower(modality).config
    tower = config.text if modality == "text" else config.vision
    return examples.is_random(modality) or tower.has_dropout


def _kind(
    model: EmotionClassifier,
    modality: Modality,
    checkpoints: Mapping[Source, str],
    batch_size: int,
    half: torch.dtype | None,
) -> str:
    """16 hexadecimal digits of all that determines an embedding, to the bit, besides its content.

    A matrix product of another size, on another device, or of another version of torch may round differently.
    """
    decisive = {
        "modality": modality,
        "checkpoint": checkpoints[model.source(modality)],
        "code": code_version(),
        "libraries": [torch.__version__, transformers.__version__],
        "device": _device().type,
        "precision": str(half or torch.float32),
        "batch": batch_size,
        "pooling": model.encoder.config.pooling if modality == "text" and model.encoder else None,
        "states": model.reads_states,
    }
    return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()[:16]


def _file_name(kind: str, content: bytes) -> str:
    return f"{kind}-{hashlib.blake2b(content, digest_size=16).hexdigest()}.safetensors"


def _device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _computed(
    model: EmotionClassifier,
    modality: Modality,
    examples: Examples,
    rows: Mapping[bytes, int],
    batch_size: int,
    half: torch.dtype | None,
) -> Iterator[dict[bytes, np.ndarray]]:
    """Yields the embeddings of these rows by content, some hundred at a time."""
    if not rows:
        return
    model.to(_device()).eval()
    groups = _of_equal_width(rows, examples.text_lengths()) if modality == "text" and model.encoder else [[*rows]]
    places = [
        [rows[name] for name in names[at : at + batch_size]]
        for names in groups
        for at in range(0, len(names), batch_size)
    ]
    loader = DataLoader(examples.of_one(modality), batch_sampler=places, collate_fn=collate)
    batches = iter(tqdm(loader, desc=f"embedding {modality}", unit="batch", leave=False, disable=None))
    names = chain.from_iterable(groups)
    while some := list(islice(batches, -(-AT_ONCE // batch_size))):
        found = [
            row
            for batch in some
            for row in _by_utterance(_embedded(model, modality, batch[INPUTS[modality]], batch_size, half))
        ]
        yield dict(zip(islice(names, len(found)), found, strict=True))


def _by_utterance(found: np.ndarray) -> list[np.ndarray]:
    """The embedding of each utterance, or its states without padding."""
    if found.ndim == 2:  # [utterance, projection_dim]
        return list(found)
    states, counts = without_padding(found)
    return np.split(states, counts.cumsum()[:-1])


def _of_equal_width(rows: Mapping[bytes, int], lengths: Sequence[int]) -> list[list[bytes]]:
    """The names of rows whose texts make batches of the same width, so that no text depends on longer ones."""
    groups: dict[int, list[bytes]] = {}
    for name, row in rows.items():
        groups.setdefault(-(-lengths[row] // WIDTH_STEP), []).append(name)
    return [groups[width] for width in sorted(groups)]


@memory_explained(PREDICTION_REMEDY)
@torch.inference_mode()
def _embedded(
    model: EmotionClassifier, modality: Modality, inputs: Tensor, batch_size: int, half: torch.dtype | None
) -> np.ndarray:
    """[utterance, projection_dim] float32, or states, of at most `batch_size` inputs; zeros fill the batch.

    For an encoder, the first text does: zeros would be a text, and as long as the longest of all.
    """
    missing = batch_size - len(inputs)
    first = inputs[:1].expand(missing, *inputs.shape[1:])
    filler = first if modality == "text" and model.encoder else torch.zeros_like(first)
    filled = torch.cat([inputs, filler]).to(_device())
    with torch.autocast(_device().type, half, enabled=half is not None):
        return model.embed_input(modality, filled)[: len(inputs)].cpu().numpy()
