"""Class probabilities of a trained model, without any randomness."""

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from trimood.emotions import EMOTIONS
from trimood.learning.batches import collate
from trimood.model.classifier import EmotionClassifier


@torch.inference_mode()
def probabilities(model: EmotionClassifier, examples: Dataset[dict[str, Tensor]], batch_size: int) -> np.ndarray:
    """Softmax over the seven emotions, [utterance, 7] float64, in the order of the examples; computed in float32."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = model.to(device).eval()
    found = [torch.empty(0, len(EMOTIONS), dtype=torch.float64)]
    loader = DataLoader(examples, batch_size=batch_size, collate_fn=collate)
    for batch in tqdm(loader, desc="predicting", unit="batch", leave=False, disable=None):
        logits = model(**{name: tensor.to(device) for name, tensor in batch.items()})["logits"]
        found.append(logits.double().softmax(-1).cpu())
    return torch.cat(found).numpy()
