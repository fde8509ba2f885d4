"""Computes embeddings and class probabilities of a trained model, deterministically."""

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from trimood.emotions import EMOTIONS, MODALITIES, Modality
from trimood.learning.batches import collate
from trimood.learning.embeddings import EmbeddingCache, embed_frozen
from trimood.learning.setup import LoadedModel
from trimood.media.parts import Location
from trimood.model.classifier import EmotionClassifier
from trimood.model.heads import Head, build_head, classify
from trimood.model.memory import PREDICTION_REMEDY, memory_explained
from trimood.model.stored import AboutWeights, Embeddings, TrainedWeights


@memory_explained(PREDICTION_REMEDY)
@torch.inference_mode()
def probabilities(model: EmotionClassifier, examples: Dataset[dict[str, Tensor]], batch_size: int) -> np.ndarray:
    """Softmax over the seven emotions, [utterance, 7] float64, in the order of the examples; computed in float32."""
    found = [torch.empty(0, len(EMOTIONS), dtype=torch.float64)]
    for batch in _batches(model, examples, batch_size):
        found.append(_softmax(model(**batch)["logits"]))
    return torch.cat(found).numpy()


def embed_splits(
    loaded: LoadedModel,
    tables: Mapping[str, pd.DataFrame],
    prepared_clips: Location,
    embedding_cache: EmbeddingCache,
    weights: AboutWeights,
) -> Embeddings:
    """Embeds the examples of each split in one pass of the towers; frozen towers, only what the cache lacks."""
    batch_size, digests = weights.plan.settings.training.per_device_eval_batch_size, weights.identity.checkpoints
    splits = {}
    for split, table in tables.items():
        examples = embed_frozen(loaded, loaded.examples(table, prepared_clips), digests, embedding_cache, batch_size)
        splits[split] = embed(loaded.model, examples, batch_size)
    return Embeddings(
        weights.fingerprint, {split: table["utterance"].tolist() for split, table in tables.items()}, splits
    )


@memory_explained(PREDICTION_REMEDY)
@torch.inference_mode()
def embed(
    model: EmotionClassifier, examples: Dataset[dict[str, Tensor]], batch_size: int
) -> dict[Modality, np.ndarray]:
    """What the head reads of each modality, as `EmotionClassifier.embed` returns it, in the order of the examples."""
    found: dict[Modality, list[Tensor]] = {modality: [] for modality in model.modalities}
    for batch in _batches(model, examples, batch_size):
        inputs = {name: tensor for name, tensor in batch.items() if name != "labels"}
        for modality, embedding in model.embed(**inputs).items():
            found[modality].append(embedding.cpu())
    return {modality: _joined(parts or [model.no_embeddings(modality)]) for modality, parts in found.items()}


def _joined(batches: list[Tensor]) -> np.ndarray:
    """The rows of all batches; those of states are padded to the most states that a batch has."""
    most = max(batch.shape[1] for batch in batches)
    return torch.cat(
        [F.pad(batch, (0, 0, 0, most - batch.shape[1])) if batch.ndim > 2 else batch for batch in batches]
    ).numpy()


def stored_head(weights: TrainedWeights, embeddings: Mapping[Modality, np.ndarray]) -> Head:
    """Builds the head of trained weights for their embeddings. One that attends to states is put on the device."""
    params = weights.about.plan.settings.head
    sizes = {modality: rows.shape[-1] - params.reads_states for modality, rows in embeddings.items()}
    head = build_head(params, sizes)
    head.load_state_dict(weights.head)
    return head.to("cuda" if params.reads_states and torch.cuda.is_available() else "cpu").eval()


@torch.inference_mode()
def head_probabilities(head: Head, embeddings: Mapping[Modality, np.ndarray], batch_size: int) -> np.ndarray:
    """Applies the head to embeddings, or to states; bit-identical to `probabilities` of the whole model.

    Uses the same batches as the whole model, because a matrix product of another size may round differently.
    """
    found = [torch.empty(0, len(EMOTIONS), dtype=torch.float64)]
    modalities = [modality for modality in MODALITIES if modality in embeddings]
    device = next(head.parameters()).device
    for batch in zip(
        *(torch.from_numpy(embeddings[modality]).split(batch_size) for modality in modalities), strict=True
    ):
        on_device = {modality: rows.to(device) for modality, rows in zip(modalities, batch, strict=True)}
        found.append(_softmax(classify(on_device, head)))
    return torch.cat(found).numpy()


def _batches(
    model: EmotionClassifier, examples: Dataset[dict[str, Tensor]], batch_size: int
) -> Iterator[dict[str, Tensor]]:
    """Moves the model to the device, sets it to eval mode, and yields the batches there in order."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model.to(device).eval()
    loader = DataLoader(examples, batch_size=batch_size, collate_fn=collate)
    for batch in tqdm(loader, desc="predicting", unit="batch", leave=False, disable=None):
        yield {name: tensor.to(device) for name, tensor in batch.items()}


def _softmax(logits: Tensor) -> Tensor:
    return logits.double().softmax(-1).cpu()
