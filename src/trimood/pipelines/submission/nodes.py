"""Nodes of the submission stage."""

import logging
from pathlib import Path

import pandas as pd

from trimood.config.parameters import EmbeddingParams
from trimood.corpus.causes import SubmittedConversation, caused_by_themselves, read_pairs, submitted_pairs
from trimood.corpus.corpus_files import TEST_FILES, first_present
from trimood.emotions import EMOTIONS, PROBABILITIES
from trimood.model.stored import RunIdentity, TrainedWeights
from trimood.scoring.metrics import PairScores

log = logging.getLogger(__name__)


def predict(
    identity: RunIdentity,
    best_weights: TrainedWeights,
    examples: pd.DataFrame,
    prepared_clips: Path,
    embedding_cache: Path,
    embeddings: EmbeddingParams,
) -> pd.DataFrame:
    """Returns key, predicted emotion and probabilities of each utterance with a usable clip.

    Raises CheckpointError if the weights or the checkpoints are of another run.
    """
    from trimood.learning.embeddings import EmbeddingCache, embed_frozen
    from trimood.learning.prediction import probabilities
    from trimood.learning.setup import load_for_plan

    best_weights.check_identity(identity)
    plan = identity.plan
    batch_size = plan.settings.training.per_device_eval_batch_size
    loaded = load_for_plan(plan, best_weights)
    unlabelled = loaded.examples(examples.drop(columns="label"), prepared_clips)
    cache = EmbeddingCache(embedding_cache, embeddings.cache_gigabytes)
    known = embed_frozen(loaded, unlabelled, identity.checkpoints, cache, batch_size)
    found = probabilities(loaded.model, known, batch_size)
    rows = examples[["utterance"]].copy()
    rows["predicted"] = [EMOTIONS[number] for number in found.argmax(axis=1)]
    rows[list(PROBABILITIES)] = found
    return rows


def write_pairs(utterances: pd.DataFrame, predictions: pd.DataFrame) -> list[SubmittedConversation]:
    """Returns the content of Subtask_2_pred.json, in which each non-neutral utterance is the cause of its own emotion.

    The content is checked with the rules of the task's scorer. Utterances without a prediction have no pair.
    """
    predicted = dict(zip(predictions["utterance"], predictions["predicted"], strict=True))
    missing = len(utterances) - len(predicted)
    if missing:
        log.warning("%d of %d utterances have no prediction, so they get no pair", missing, len(utterances))
    pairs = caused_by_themselves(utterances, predicted)
    submitted_pairs(pairs, utterances)
    return pairs


def describe(
    experiment: str, corpus: Path, utterances: pd.DataFrame, predictions: pd.DataFrame
) -> dict[str, str | int | None]:
    """Returns the experiment and the file of the submission, and the number of predicted utterances."""
    path = first_present(corpus, TEST_FILES)
    return {
        "experiment": experiment,
        "file": path.name if path else None,
        "utterances": len(utterances),
        "predicted_utterances": len(predictions),
    }


def score_pairs(pairs: list[SubmittedConversation], utterances: pd.DataFrame, corpus: Path) -> PairScores:
    """Returns the organisers' scores; an empty result if the official file has no pairs of Subtask 2."""
    from trimood.scoring.metrics import pair_scores

    path = first_present(corpus, TEST_FILES)
    annotated = read_pairs(path) if path else None
    if not annotated:
        log.info("%s has no pairs of Subtask 2: nothing to score the submission against", path and path.name)
        return {}
    scores = pair_scores(annotated, submitted_pairs(pairs, utterances))
    log.info("pairs: weighted F1 %.3f, micro F1 %.3f", scores["pair_weighted_f1"], scores["pair_micro_f1"])
    return scores
