"""A frozen tower embeds each utterance once, and what is trained on its embeddings is what it was without them."""

import logging
import os
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from support.learning_examples import encoder_settings, example_table, lora, settings, tiny_model, training
from trimood.config.experiment_settings import AugmentationParams, ContextParams, HeadParams, TrainingParams
from trimood.emotions import Modality
from trimood.learning import embeddings
from trimood.learning.batches import Examples
from trimood.learning.device import half_precision
from trimood.learning.embeddings import EmbeddingCache, embed_frozen
from trimood.learning.prediction import embed, head_probabilities, probabilities
from trimood.learning.setup import LoadedModel, load_model, used_checkpoints
from trimood.learning.trainer import Fitted, fit
from trimood.model.classifier import EmotionClassifier
from trimood.scoring.metrics import summary_scores

THREE: tuple[Modality, ...] = ("text", "video", "audio")
DIGESTS = {"video": "digest of video", "audio": "digest of audio"}
SLOW = pytest.mark.slow
NONE = AugmentationParams(flip_probability=0.0, random_mel_chunks=False)


ADAPTED = {"video": "temporal_attn.q_proj", "text": "text_model.encoder.layers.1.self_attn.q_proj"}
"""LoRA targets in one tower, so that the others are frozen."""


def one_trained(sources: dict, modality: Modality) -> LoadedModel:
    """A model whose tower of this modality has adapters with dropout."""
    adapters = lora(ADAPTED[modality], r=4, alpha=4, dropout=0.1, bias="none")
    wanted = settings("lora", THREE).model_copy(update={"lora": adapters})
    return load_model(wanted, used_checkpoints(THREE, sources))


@pytest.fixture
def cache(tmp_path: Path) -> EmbeddingCache:
    return EmbeddingCache(tmp_path / "embeddings", 1)


@pytest.fixture
def table() -> pd.DataFrame:
    """21 utterances with seven contents, of which some are absent: words in one, video in two, sound in three."""
    table = example_table(21).assign(has_video=True, has_audio=True)
    table.loc[4, "text"] = ""
    table.loc[[1, 2], "has_video"] = False
    table.loc[[1, 5, 6], "has_audio"] = False
    return table


@pytest.fixture
def passed(monkeypatch: pytest.MonkeyPatch) -> Counter:
    """Counts the rows that pass through each tower, which are those of whole batches."""
    counts: Counter = Counter()
    whole = EmotionClassifier.embed_input

    def counted(self: EmotionClassifier, modality: Modality, value: Tensor) -> Tensor:
        counts[modality] += len(value)
        return whole(self, modality, value)

    monkeypatch.setattr(EmotionClassifier, "embed_input", counted)
    return counts


def frozen(loaded: LoadedModel, examples: Examples, cache: EmbeddingCache, batch: int = 4, **changes: Any) -> Examples:
    return embed_frozen(loaded, examples, **{"checkpoints": DIGESTS, "cache": cache, "batch_size": batch, **changes})


def rows_of(examples: Examples, modality: Modality) -> Tensor:
    return torch.stack([examples[number][f"{modality}_embedding"] for number in range(len(examples))])


def files(cache: EmbeddingCache) -> list[Path]:
    return sorted(cache.folder.glob("*"))


def trained(
    loaded: LoadedModel,
    table: pd.DataFrame,
    prepared_clips: Path,
    folder: Path,
    cache: EmbeddingCache | None,
    arguments: TrainingParams,
) -> tuple[Fitted, np.ndarray]:
    """What a training gives, and the model's probabilities afterwards; without a cache, through the towers."""
    examples = loaded.examples(table, prepared_clips, NONE)
    validation = loaded.examples(table[:14], prepared_clips)
    if cache:
        examples = frozen(loaded, examples, cache, half=half_precision(arguments))
        validation = frozen(loaded, validation, cache, half=half_precision(arguments))
    fitted = fit(loaded.model, examples, validation, arguments, folder, summary_scores, lambda numbers, step: None)
    return fitted, probabilities(loaded.model, loaded.examples(table, prepared_clips), 4)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("load", "bf16"),
    [
        pytest.param(lambda sources: tiny_model(sources, train="head", modalities=THREE), False, id="head"),
        pytest.param(
            lambda sources: tiny_model(sources, train="head", modalities=THREE), True, id="head, bf16", marks=SLOW
        ),
        pytest.param(
            lambda sources: one_trained(sources, "video"), False, id="adapters with dropout on video", marks=SLOW
        ),
        pytest.param(
            lambda sources: one_trained(sources, "text"), False, id="adapters with dropout on text", marks=SLOW
        ),
    ],
)
def test_ten_epochs_on_kept_embeddings_train_what_ten_epochs_through_the_towers_train(
    load: Callable[[dict], LoadedModel], bf16: bool, sources, prepared_clips, table, tmp_path, cache
) -> None:
    arguments = training(num_train_epochs=10, per_device_eval_batch_size=4, learning_rate=1e-2, bf16=bf16)
    uncached, found = trained(load(sources), table, prepared_clips, tmp_path / "uncached", None, arguments)
    cached, same = trained(load(sources), table, prepared_clips, tmp_path / "cached", cache, arguments)
    before = load(sources).model.head.weight.detach()
    assert float((uncached.last["head.weight"] - before).abs().max()) > 0.05
    for one, other in ((uncached.best, cached.best), (uncached.last, cached.last)):
        assert one.keys() == other.keys()
        for name, tensor in one.items():
            torch.testing.assert_close(other[name], tensor, rtol=0, atol=1e-6)
    assert (same.argmax(1) == found.argmax(1)).all()
    scores = [[row["validation/macro_f1"] for row in fitted.history] for fitted in (uncached, cached)]
    assert scores[0] == scores[1]


@pytest.mark.slow
def test_each_content_passes_its_frozen_tower_once_in_trainings_and_validations(
    sources, prepared_clips, table, tmp_path, cache, passed
) -> None:
    arguments = training(num_train_epochs=2, per_device_eval_batch_size=4)
    for seed in (1, 2):
        loaded = tiny_model(sources, train="head", modalities=THREE)
        examples = frozen(loaded, loaded.examples(table, prepared_clips, NONE), cache)
        validation = frozen(loaded, loaded.examples(table[:14], prepared_clips), cache)
        passes = arguments.model_copy(update={"seed": seed})
        fit(
            loaded.model, examples, validation, passes, tmp_path / str(seed), summary_scores, lambda numbers, step: None
        )
    assert passed == dict.fromkeys(THREE, 8)  # seven contents, in two batches of four


def test_a_tower_that_is_trained_is_passed_and_the_frozen_ones_are_not(
    sources, prepared_clips, table, cache, passed
) -> None:
    loaded = one_trained(sources, "video")
    item = frozen(loaded, loaded.examples(table, prepared_clips, NONE), cache)[0]
    assert set(item) == {"labels", "present", "frames", "text_embedding", "audio_embedding"}
    assert set(passed) == {"text", "audio"}
    whole = tiny_model(sources, train="everything", modalities=THREE)
    assert set(frozen(whole, whole.examples(table, prepared_clips), cache)[0]) == {
        *("labels", "present", "frames", "mel", "input_ids")
    }


@pytest.mark.parametrize(
    ("augmentation", "read"),
    [
        (AugmentationParams(flip_probability=0.5, random_mel_chunks=False), "frames"),
        (AugmentationParams(flip_probability=0.0, random_mel_chunks=True), "mel"),
    ],
)
def test_what_augmentation_changes_is_read_anew_in_training_and_kept_for_evaluation(
    sources, prepared_clips, table, cache, augmentation: AugmentationParams, read: str
) -> None:
    loaded = tiny_model(sources, train="head", modalities=THREE)
    training_item = frozen(loaded, loaded.examples(table, prepared_clips, augmentation), cache)[0]
    assert {"frames", "mel", "input_ids"} & set(training_item) == {read}
    validation_item = frozen(loaded, loaded.examples(table, prepared_clips), cache)[0]
    assert not {"frames", "mel", "input_ids"} & set(validation_item)


@pytest.mark.parametrize("changes", [{"attention_dropout": 0.1}, {"force_patch_dropout": 0.5}])
def test_a_frozen_tower_with_dropout_is_passed_in_training(
    sources, prepared_clips, table, cache, changes: dict
) -> None:
    loaded = tiny_model(sources, train="head")
    tower = loaded.model.tower("video")
    tower.config = replace(tower.config, vision=replace(tower.config.vision, **changes))
    item = frozen(loaded, loaded.examples(table, prepared_clips, NONE), cache)[0]
    assert set(item) == {"labels", "present", "frames", "text_embedding"}
    assert "video_embedding" in frozen(loaded, loaded.examples(table, prepared_clips), cache)[0]


@pytest.mark.slow
def test_an_embedding_is_the_same_to_the_bit_whatever_was_embedded_with_it(
    sources, prepared_clips, table, tmp_path
) -> None:
    loaded = tiny_model(sources, train="head", modalities=THREE)
    at_once = frozen(loaded, loaded.examples(table, prepared_clips), EmbeddingCache(tmp_path / "at once", 1))
    piecemeal = EmbeddingCache(tmp_path / "piecemeal", 1)
    for start, end in ((5, 6), (2, 5), (0, 21)):
        by_and_by = frozen(loaded, loaded.examples(table[start:end], prepared_clips), piecemeal)
    for modality in THREE:
        assert torch.equal(rows_of(by_and_by, modality), rows_of(at_once, modality))
        assert rows_of(at_once, modality).std(dim=0).max() > 1e-3
    absent = ~loaded.examples(table, prepared_clips)._present
    for column, modality in enumerate(("video", "audio", "text")):
        assert (rows_of(at_once, modality)[absent[:, column]] == 0).all()


@pytest.mark.parametrize("what", ["checkpoints", "batch_size", "half", "code_version", "torch"])
def test_another_checkpoint_precision_batch_code_or_library_is_another_kind(
    sources, prepared_clips, table, cache, passed, monkeypatch, what: str
) -> None:
    loaded = tiny_model(sources, train="head", modalities=("text",))
    examples = loaded.examples(table, prepared_clips)
    frozen(loaded, examples, cache)
    frozen(loaded, examples, cache)
    assert passed["text"] == 8
    if what == "code_version":
        monkeypatch.setattr(embeddings, "code_version", lambda: "of another version")
    if what == "torch":
        monkeypatch.setattr(torch, "__version__", "3.0")
    changes = {"checkpoints": {"video": "another"}, "batch_size": 8, "half": torch.bfloat16}
    frozen(loaded, examples, cache, **{name: value for name, value in changes.items() if name == what})
    assert passed["text"] == 16


def test_the_log_says_how_many_are_embedded_and_how_many_were_before(
    sources, prepared_clips, table, cache, caplog
) -> None:
    loaded = tiny_model(sources, train="head", modalities=("video",))
    with caplog.at_level(logging.INFO, logger="trimood"):
        frozen(loaded, loaded.examples(table[:3], prepared_clips), cache)
        frozen(loaded, loaded.examples(table, prepared_clips), cache)
    found = [message for message in caplog.messages if "frozen" in message]
    assert found == [
        "the video tower is frozen: 1 utterances, 0 embedded before, 1 to embed",
        "the video tower is frozen: 19 utterances, 3 embedded before, 16 to embed",
    ]


def test_an_interrupted_embedding_goes_on_with_the_utterances_that_it_lacks(
    sources, prepared_clips, table, cache, passed, monkeypatch
) -> None:
    monkeypatch.setattr(embeddings, "AT_ONCE", 2)
    loaded = tiny_model(sources, train="head", modalities=("text",))
    examples = loaded.examples(table, prepared_clips)
    whole = rows_of(frozen(loaded, examples, EmbeddingCache(cache.folder.with_name("whole"), 1), batch=2), "text")
    passed.clear()
    counted = EmotionClassifier.embed_input

    def stopped(self: EmotionClassifier, *given: Any) -> Tensor:
        if passed["text"] == 4:
            raise KeyboardInterrupt
        return counted(self, *given)

    monkeypatch.setattr(EmotionClassifier, "embed_input", stopped)
    with pytest.raises(KeyboardInterrupt):
        frozen(loaded, examples, cache, batch=2)
    assert len(files(cache)) == 2
    monkeypatch.setattr(EmotionClassifier, "embed_input", counted)
    assert torch.equal(rows_of(frozen(loaded, examples, cache, batch=2), "text"), whole)
    assert passed["text"] == 8  # seven contents: four before, three and a row of zeros after


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    "damage",
    [flip_a_bit, lambda path: path.write_bytes(path.read_bytes()[:-5]), lambda path: path.write_bytes(b"")],
    ids=["a flipped bit", "cut short", "empty"],
)
def test_a_damaged_file_is_named_and_made_anew(sources, prepared_clips, table, cache, caplog, damage) -> None:
    loaded = tiny_model(sources, train="head", modalities=("text",))
    examples = loaded.examples(table, prepared_clips)
    whole = rows_of(frozen(loaded, examples, cache), "text")
    (path,) = files(cache)
    kept = path.read_bytes()
    damage(path)
    assert torch.equal(rows_of(frozen(loaded, examples, cache), "text"), whole)
    assert f"{path} is damaged" in caplog.text
    assert path.read_bytes() == kept


@pytest.mark.slow
def test_the_files_that_were_unused_for_longest_are_removed_first(sources, prepared_clips, cache, caplog) -> None:
    loaded = tiny_model(sources, train="head", modalities=("text",))

    def use(start: int, end: int, most: float = 1) -> None:
        frozen(
            loaded, loaded.examples(example_table(7)[start:end], prepared_clips), replace(cache, most_gigabytes=most)
        )

    made = []
    for number in range(3):
        use(number, number + 1)
        (path,) = set(files(cache)) - set(made)
        os.utime(path, (number, number))  # in the order of their age
        made.append(path)
    use(0, 1)  # the oldest is used
    size = made[0].stat().st_size
    with caplog.at_level(logging.INFO, logger="trimood"):
        use(3, 4, most=3.5 * size / 1e9)
    assert f"{cache.folder}: 1 files that were unused for longest are removed" in caplog.text
    (newest,) = set(files(cache)) - set(made)
    assert set(files(cache)) == {made[0], made[2], newest}
    use(4, 5, most=0)
    assert files(cache) == []


def test_a_cache_that_is_deleted_or_cannot_be_written_costs_time_and_nothing_else(
    sources, prepared_clips, table, cache, small_disk, caplog, monkeypatch
) -> None:
    loaded = tiny_model(sources, train="head", modalities=("text",))
    examples = loaded.examples(table, prepared_clips)
    whole = rows_of(frozen(loaded, examples, cache), "text")
    for path in files(cache):
        path.unlink()
    cache.folder.rmdir()
    assert torch.equal(rows_of(frozen(loaded, examples, cache), "text"), whole)
    full = EmbeddingCache(small_disk, 1)
    monkeypatch.setattr(embeddings, "AT_ONCE", 4)
    with suppress(OSError):  # no space left
        (small_disk / "other").write_bytes(bytes(1_000_000))
    assert torch.equal(rows_of(frozen(loaded, examples, full), "text"), whole)
    assert caplog.text.count("embeddings cannot be kept for the next run") == 1
    assert [path.name for path in files(full)] == ["other"]


@pytest.mark.slow
def test_commands_at_the_same_time_do_not_disturb_each_other(
    sources, prepared_clips, table, cache, monkeypatch, caplog
) -> None:
    monkeypatch.setattr(embeddings, "AT_ONCE", 1)
    models = [tiny_model(sources, train="head", modalities=THREE) for _ in range(3)]

    def work(number: int) -> Examples:
        for most in (1.0, 0.0, 1.0):  # with 0, each removes what the others write
            examples = models[number].examples(table, prepared_clips)
            found = frozen(models[number], examples, replace(cache, most_gigabytes=most), batch=1)
        return found

    with ThreadPoolExecutor(3) as pool:
        one, *others = pool.map(work, range(3))
    for modality in THREE:
        assert all(torch.equal(rows_of(one, modality), rows_of(other, modality)) for other in others)
    assert all(path.suffix == ".safetensors" for path in files(cache))
    assert "damaged" not in caplog.text


def test_a_frozen_encoder_embeds_a_text_alike_whatever_else_is_embedded(
    encoder_folder: Path, cache: EmbeddingCache, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    loaded = load_model(encoder_settings("head"), {"text": str(encoder_folder)})
    lengths = (1, 40, 3, 3, 90, 17, 16)
    table = example_table(7).assign(text=[" ".join(["so"] * length) for length in lengths], has_video=False)
    found = embed_frozen(loaded, loaded.examples(table, tmp_path, NONE), {"text": "digest"}, cache, 2)
    every = torch.stack([found[row]["text_embedding"] for row in range(7)])
    with torch.no_grad():
        for row in range(7):
            alone = loaded.examples(table.iloc[[row]].reset_index(), tmp_path)
            kept = EmbeddingCache(tmp_path / f"alone {row}", 1)
            own = embed_frozen(loaded, alone, {"text": "digest"}, kept, 2)[0]["text_embedding"]
            assert own.equal(every[row])
            whole = loaded.model.embed(input_ids=alone[0]["input_ids"][None])["text"][0]
            torch.testing.assert_close(whole, every[row], atol=1e-6, rtol=0)
    with caplog.at_level(logging.INFO, logger="trimood"):
        again = embed_frozen(loaded, loaded.examples(table.iloc[::-1], tmp_path, NONE), {"text": "digest"}, cache, 2)
    assert "7 utterances, 7 embedded before, 0 to embed" in caplog.text
    assert again[6]["text_embedding"].equal(every[0])


def test_another_pooling_and_another_context_are_other_embeddings(
    encoder_folder: Path, cache: EmbeddingCache, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="trimood")
    table = example_table(3).assign(conversation_id=1, utterance_id=[1, 2, 3], has_video=False)
    for changes, missing in (
        ({}, 3),
        ({"text_pooling": "first"}, 3),
        ({"context": ContextParams(previous=1)}, 3),
        ({}, 0),
    ):
        loaded = load_model(encoder_settings("head").model_copy(update=changes), {"text": str(encoder_folder)})
        caplog.clear()
        embed_frozen(loaded, loaded.examples(table, tmp_path, NONE), {"text": "digest"}, cache, 4)
        assert f"3 utterances, {3 - missing} embedded before, {missing} to embed" in caplog.text


def test_states_of_frozen_towers_are_computed_once_and_kept_without_padding(
    sources, prepared_clips, table, cache, passed
) -> None:
    loaded = tiny_model(sources, train="head", modalities=THREE, head={"kind": "attention", "heads": 3})
    plain = loaded.examples(table, prepared_clips)
    expected = probabilities(loaded.model, plain, 4)
    passed.clear()
    first = frozen(loaded, plain, cache)
    assert passed == {"text": 8, "video": 8, "audio": 8}  # seven contents, in whole batches
    again = frozen(loaded, plain, cache)
    assert passed == {"text": 8, "video": 8, "audio": 8}
    for modality in THREE:
        assert torch.equal(rows_of(first, modality), rows_of(again, modality))
    assert rows_of(first, "text").shape[1] < 20  # of 77 tokens
    assert not rows_of(first, "text")[4].any()  # it has no words
    np.testing.assert_allclose(probabilities(loaded.model, again, 4), expected, rtol=0, atol=1e-6)
    linear = tiny_model(sources, train="head", modalities=THREE)
    assert rows_of(frozen(linear, linear.examples(table, prepared_clips), cache), "text").shape == (21, 12)


def test_states_of_an_encoder_are_those_of_batches_of_other_widths(
    encoder_folder: Path, cache: EmbeddingCache, tmp_path: Path
) -> None:
    wanted = encoder_settings("head").model_copy(update={"head": HeadParams(kind="attention", heads=2)})
    loaded = load_model(wanted, {"text": str(encoder_folder)})
    lengths = (1, 40, 3, 3, 90, 17, 16)
    table = example_table(7).assign(text=[" ".join(["so"] * length) for length in lengths], has_video=False)
    plain = loaded.examples(table, tmp_path)
    whole = probabilities(loaded.model, plain, 2)
    kept = embed_frozen(loaded, plain, {"text": "digest"}, cache, 2)
    np.testing.assert_allclose(probabilities(loaded.model, kept, 2), whole, atol=1e-6, rtol=0)
    found = embed(loaded.model, plain, 2)
    np.testing.assert_array_equal(head_probabilities(loaded.model.head, found, 2), whole)
