"""How often each emotion occurs among training utterances, and the class weights and priors that follow."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from trimood.config.experiment_settings import ClassWeights, LossParams
from trimood.emotions import EMOTIONS


class AbsentEmotion(Exception):
    """A loss needs the frequency of an emotion that no training utterance has."""


@dataclass(frozen=True)
class LossTerms:
    """What a loss takes from the training labels, [7] float64 each.

    `weights`: of the emotions, with mean 1. `adjustment`: added to the logits in training, tau log(pi).
    """

    weights: np.ndarray
    adjustment: np.ndarray

    def described(self) -> dict[str, float]:
        """The weights and adjustments that change the loss, rounded to four digits: {"class_weight.joy": 0.8, …}."""
        found: dict[str, float] = {}
        for name, values, unchanged in (("class_weight", self.weights, 1), ("adjustment", self.adjustment, 0)):
            if (values != unchanged).any():
                found |= {f"{name}.{key}": round(float(of), 4) for key, of in zip(EMOTIONS, values, strict=True)}
        return found


def loss_terms(loss: LossParams, labels: ArrayLike) -> LossTerms:
    """Derives class weights and logit adjustment from the class numbers of the training utterances.

    Logit adjustment (Menon et al. 2021, https://arxiv.org/abs/2007.07314, equation 10) trains softmax(z + tau log(pi)),
    pi being the emotions' shares of the training utterances, and predicts by z. Raises AbsentEmotion if an emotion that
    needs a weight or a share does not occur.
    """
    counts = np.bincount(np.asarray(labels, dtype=int), minlength=len(EMOTIONS))
    uses = [f"loss.class_weights={loss.class_weights}"] if loss.class_weights != "none" else []
    uses += [f"loss.logit_adjustment={loss.logit_adjustment}"] if loss.logit_adjustment else []
    if uses and not counts.all():
        absent = ", ".join(name for name, count in zip(EMOTIONS, counts, strict=True) if not count)
        raise AbsentEmotion(
            f"{' and '.join(uses)}: none of the {counts.sum():,} training utterances is of {absent}, so its frequency "
            "gives no weight. Train on utterances of all seven emotions (another data.split.seed, or a smaller "
            "data.split.validation_fraction), or set loss.class_weights=none and loss.logit_adjustment=0."
        )
    adjustment = (
        loss.logit_adjustment * np.log(counts / counts.sum()) if loss.logit_adjustment else np.zeros(len(counts))
    )
    return LossTerms(class_weights(counts, loss.class_weights), adjustment)


def class_weights(counts: np.ndarray, kind: ClassWeights) -> np.ndarray:
    """The weights of the classes, n^-1/2 (`sqrt`) or n^-1 (`balanced`), divided by their mean; 1 each for `none`.

    `counts` are n, the training utterances of each class, above 0. Weights by n^-1 give every class the same weight in
    sum (King and Zeng 2001, https://doi.org/10.1093/oxfordjournals.pan.a004868); the root is halfway between that and
    no weights (Mahajan et al. 2018, https://arxiv.org/abs/1805.00932, sample by it).
    """
    power = {"none": 0.0, "sqrt": -0.5, "balanced": -1.0}[kind]
    weights = counts.astype(float) ** power if power else np.ones(len(counts))
    return weights / weights.mean()
