from pathlib import Path

import pandas as pd
import pytest

from support.made_corpus import write_ecf
from support.shared_data import SHARED, needs_shared
from trimood.corpus.ecf import read_ecf
from trimood.corpus.published import (
    EVALUATION,
    GENERATIONS,
    MELD_TEST,
    TEST,
    TRAIN,
    Generation,
    differences,
    generation_of,
    nearest_generation,
)


@needs_shared
@pytest.mark.parametrize("published", [known for known in GENERATIONS if known.corpus == "ecf"], ids=lambda of: of.name)
def test_every_published_file_of_ecf_is_known_and_holds_what_is_published(published: Generation) -> None:
    table = read_ecf((SHARED or Path()) / "reference" / "ecf2" / published.file)
    assert generation_of(table) is published
    assert differences(table, published) == []


@needs_shared
def test_a_file_that_lost_conversations_is_told_from_which_and_how_much() -> None:
    table = read_ecf((SHARED or Path()) / "reference" / "ecf2" / TRAIN.file)
    shorter = table[table["conversation_id"] > 10]
    assert generation_of(shorter) is None
    assert nearest_generation(shorter, "train") is TRAIN
    assert "conversations: 1,364 instead of 1,374" in differences(shorter, TRAIN)


@needs_shared
def test_a_file_with_changed_labels_is_known_by_its_size_and_the_changed_classes_are_named() -> None:
    table = read_ecf((SHARED or Path()) / "reference" / "ecf2" / TEST.file)
    changed = table.assign(label=table["label"].replace(6, 5))
    assert generation_of(changed) is TEST
    assert differences(changed, TEST) == ["anger: 358 instead of 235", "disgust: 0 instead of 123"]


def test_a_small_corpus_is_no_published_file(tmp_path: Path) -> None:
    table = read_ecf(write_ecf(tmp_path, {1: ["joy"], 2: ["fear"]}))
    assert generation_of(table) is None
    assert nearest_generation(table, "train") is None
    assert nearest_generation(table, "official_test") is None


def test_published_classes_add_up_to_the_published_utterances() -> None:
    labelled = [known for known in GENERATIONS if known is not EVALUATION]
    assert len(labelled) == 5
    assert [sum(known.emotions.values()) for known in labelled] == [known.utterances for known in labelled]
    assert EVALUATION.emotions == {}


def test_a_file_is_compared_with_the_published_files_of_its_own_corpus() -> None:
    table = pd.DataFrame({"conversation_id": [min(number, 279) for number in range(2610)]})
    assert generation_of(table, "meld") is MELD_TEST
    assert generation_of(table) is None
    assert nearest_generation(table, "official_test", "meld") is MELD_TEST
    assert nearest_generation(table, "official_test") is None
    assert nearest_generation(table, "train", "meld") is None
