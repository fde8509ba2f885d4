"""The loss of a training, by its formulas written out."""

import math

import pytest
import torch

from trimood.config.experiment_settings import LossParams
from trimood.learning.loss import TrainingLoss

LABELS = [0, 1, 1, 2, 3, 3, 3, 3, 4, 5, 6]
LOGITS = torch.randn(4, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
OWN = torch.tensor([3, 0, 1, 3])


def test_an_utterance_counts_by_the_weight_of_its_emotion() -> None:
    loss = TrainingLoss(LossParams(class_weights="sqrt"), LABELS)
    weights = [1 / math.sqrt(LABELS.count(label)) for label in OWN.tolist()]
    costs = -LOGITS.log_softmax(-1)[range(4), OWN]
    expected = sum(weight * cost for weight, cost in zip(weights, costs, strict=True)) / sum(weights)
    assert float(loss.mean(LOGITS, OWN)) == pytest.approx(float(expected))
    halves = [(loss.mean(LOGITS[part], OWN[part]), loss.weight(OWN[part])) for part in (slice(0, 3), slice(3, 4))]
    whole = sum(mean * weight for mean, weight in halves) / sum(weight for _, weight in halves)
    assert float(whole) == pytest.approx(float(expected))


def test_logit_adjustment_makes_a_rare_emotion_need_a_larger_logit() -> None:
    loss = TrainingLoss(LossParams(logit_adjustment=0.5), LABELS)
    shares = torch.tensor([LABELS.count(label) / 11 for label in range(7)], dtype=torch.float64)
    chances = LOGITS.exp() * shares.sqrt()
    expected = -(chances / chances.sum(-1, keepdim=True)).log()[range(4), OWN].mean()
    assert float(loss.mean(LOGITS, OWN)) == pytest.approx(float(expected))
    assert loss.weight(OWN) == 4


def test_label_smoothing_spreads_a_share_of_the_label_over_all_emotions() -> None:
    loss = TrainingLoss(LossParams(label_smoothing=0.2), LABELS)
    costs = -LOGITS.log_softmax(-1)
    expected = (0.8 * costs[range(4), OWN] + 0.2 * costs.mean(-1)).mean()
    assert float(loss.mean(LOGITS, OWN)) == pytest.approx(float(expected))
    assert (loss.is_plain, TrainingLoss(LossParams(), LABELS).is_plain) == (False, True)
