"""The orders that files, tensors and tables share."""

from typing import get_args

from trimood.emotions import CALIBRATED, CLASS_NUMBERS, EMOTIONS, MODALITIES, PROBABILITIES, Modality


def test_the_classes_are_numbered_as_the_published_experiments_number_them() -> None:
    assert EMOTIONS == ("surprise", "fear", "sadness", "neutral", "joy", "anger", "disgust")
    assert [CLASS_NUMBERS[emotion] for emotion in EMOTIONS] == list(range(7))


def test_columns_are_in_the_order_of_the_classes_and_no_two_bear_one_name() -> None:
    assert [name.removeprefix("p_") for name in PROBABILITIES] == list(EMOTIONS)
    assert [name.removeprefix("calibrated_") for name in CALIBRATED] == list(EMOTIONS)
    assert len({*EMOTIONS, *PROBABILITIES, *CALIBRATED}) == 21


def test_every_modality_has_its_place_among_the_embeddings() -> None:
    assert MODALITIES == ("video", "audio", "text")
    assert set(MODALITIES) == set(get_args(Modality))
