"""The loss that a training minimises: cross entropy, and what makes up for rare emotions."""

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor

from trimood.config.experiment_settings import CROSS_ENTROPY, LossParams
from trimood.corpus.class_balance import loss_terms


class TrainingLoss:
    """Cross entropy with class weights, logit adjustment and label smoothing, as `loss_terms` defines them.

    Over a set of utterances it is the weighted mean, as torch.nn.CrossEntropyLoss computes it: each utterance counts by
    the weight of its emotion, and the sum is divided by the sum of these weights. An optimiser step is such a set, so
    its gradient does not depend on how it is divided into micro-batches.
    """

    def __init__(self, loss: LossParams, labels: Iterable[int]) -> None:
        """`labels` are the class numbers of all training utterances. Raises AbsentEmotion."""
        terms = loss_terms(loss, list(labels))
        self.described = terms.described()
        self.is_plain = loss == CROSS_ENTROPY
        self._weights = torch.from_numpy(terms.weights) if loss.class_weights != "none" else None
        self._adjustment = torch.from_numpy(terms.adjustment)
        self._label_smoothing = loss.label_smoothing

    def mean(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The weighted mean over a micro-batch, of logits [utterance, 7] and labels [utterance] int64."""
        weights = None if self._weights is None else self._weights.to(logits)
        adjusted = logits + self._adjustment.to(logits)
        return F.cross_entropy(adjusted, labels, weight=weights, label_smoothing=self._label_smoothing)

    def weight(self, labels: Tensor) -> Tensor | int:
        """The sum of the utterances' weights, by which their mean counts in a larger set; on the labels' device."""
        return len(labels) if self._weights is None else self._weights.to(labels.device)[labels].sum()
