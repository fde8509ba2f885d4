"""Class probabilities and embeddings of a trained model, without any randomness."""

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from trimood.emotions import EMOTIONS, Modality
from trimood.learning.batches import collate
from trimood.model.classifier import EmotionClassifier


@torch.inference_mode()
def probabilities(model: EmotionClassifier, examples: Dataset[dict[str, Tensor]], batch_size: int) -> np.ndarray:
    """Softmax over the seven emotions, [utterance, 7] float64, in the order of the examples; computed in float32."""
    found = [torch.empty(0, len(EMOTIONS), dtype=torch.float64)]
    for batch in _batches(model, examples, batch_size):
        found.append(_softmax(model(**batch)["logits"]))
    return torch.cat(found).numpy()


@torch.inference_mode()
def embeddings(
    model: EmotionClassifier, examples: Dataset[dict[str, Tensor]], batch_size: int
) -> dict[Modality, np.ndarray]:
    """What the head reads of each modality, [utterance, projection_dim] float32, in the order of the examples."""
    found: dict[Modality, list[Tensor]] = {modality: [] for modality in model.modalities}
    for batch in _batches(model, examples, batch_size):
        inputs = {name: tensor for name, tensor in batch.items() if name != "labels"}
        for modality, embedding in model.embed(**inputs).items():
            found[modality].append(embedding.cpu())
    return {modality: torch.cat(parts).numpy() for modality, parts in found.items()}


@torch.inference_mode()
def probabilities_of(model: EmotionClassifier, embedded: Mapping[Modality, np.ndarray]) -> np.ndarray:
    """What the head alone makes of these `embeddings`: probabilities as above."""
    device = model.head.weight.device
    logits = model.classify({name: torch.from_numpy(rows).to(device) for name, rows in embedded.items()})
    return _softmax(logits).numpy()


def _batches(
    model: EmotionClassifier, examples: Dataset[dict[str, Tensor]], batch_size: int
) -> Iterator[dict[str, Tensor]]:
    """Batches on the device that the model is put on, in order; the model's dropout is off."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model.to(device).eval()
    loader = DataLoader(examples, batch_size=batch_size, collate_fn=collate)
    for batch in tqdm(loader, desc="predicting", unit="batch", leave=False, disable=None):
        yield {name: tensor.to(device) for name, tensor in batch.items()}


def _softmax(logits: Tensor) -> Tensor:
    return logits.double().softmax(-1).cpu()
