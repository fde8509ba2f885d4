"""The demo's corpus: ECF's structure, real clips, the same from the same seed, and no modality that suffices."""

import json
from collections import Counter
from pathlib import Path

import av
import numpy as np
import pytest

from support.shared_data import SHARED, needs_shared
from trimood.corpus.ecf import read_ecf
from trimood.emotions import EMOTIONS
from trimood.media.audio import read_waveform
from trimood.media.recipes import VideoRecipe
from trimood.media.video import read_frames
from trimood.synthetic.corpus import write_corpus
from trimood.synthetic.dialogues import LONGEST, write_dialogues

SMALL = {"train_count": 8, "test_count": 2}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    write_corpus(folder, seed=3, **SMALL)
    return folder


def records(corpus: Path, split: str) -> list[dict]:
    return json.loads((corpus / f"Subtask_2_{split}.json").read_text(encoding="utf-8"))


def shape(value: object) -> object:
    """What a JSON value is made of: keys in their order, types, and of a list the kinds of its members."""
    if isinstance(value, dict):
        return [(key, shape(member)) for key, member in value.items()]
    if isinstance(value, list):
        return sorted({str(shape(member)) for member in value})
    return type(value).__name__


@pytest.mark.slow
@needs_shared
@pytest.mark.parametrize("split", ["train", "test"])
def test_the_annotations_have_exactly_the_structure_of_the_published_files(corpus, split):
    assert SHARED is not None
    published = json.loads((SHARED / f"reference/ecf2/Subtask_2_{split}.json").read_text(encoding="utf-8"))
    longest = max(published, key=lambda conversation: len(conversation["emotion-cause_pairs"]))
    made = max(records(corpus, split), key=lambda conversation: len(conversation["emotion-cause_pairs"]))
    assert made["emotion-cause_pairs"]
    assert shape(made) == shape(longest)


@pytest.mark.slow
@pytest.mark.parametrize("split", ["train", "test"])
def test_our_own_reader_takes_the_annotations_and_finds_every_clip(corpus, split):
    table = read_ecf(corpus / f"Subtask_2_{split}.json", split)
    assert table["conversation_id"].nunique() == SMALL[f"{split}_count"]
    assert {path.name for path in (corpus / split).iterdir()} == {Path(clip).name for clip in table["clip"]}


@pytest.mark.slow
def test_every_clip_is_h264_with_aac_sound_that_the_media_room_can_read(corpus):
    clips = sorted(corpus.glob("*/dia*utt*.mp4"))
    assert len(clips) > LONGEST
    rates = set()
    for path in clips:
        with av.open(str(path)) as container:
            assert container.streams.video[0].codec_context.name == "h264"
            assert container.streams.audio[0].codec_context.name == "aac"
            rates.add((container.streams.audio[0].rate, container.streams.audio[0].channels))
            assert 0.9 < container.duration / av.time_base < 3.3
    assert rates == {(16000, 1), (44100, 2)}
    frames = read_frames(clips[0], VideoRecipe(frame_count=8, frame_size_pixels=64))
    assert frames.float().std() > 20
    assert read_waveform(clips[0], 16000).abs().max() > 0.02


@pytest.mark.slow
def test_the_same_seed_gives_the_same_annotations_and_the_same_decoded_clips(corpus, tmp_path):
    write_corpus(tmp_path, seed=3, **SMALL, threads=1)
    for split in ("train", "test"):
        name = f"Subtask_2_{split}.json"
        assert (tmp_path / name).read_bytes() == (corpus / name).read_bytes()
    for path in sorted((corpus / "train").iterdir())[:8]:
        recipe = VideoRecipe(frame_count=8, frame_size_pixels=96)
        again = tmp_path / "train" / path.name
        assert read_frames(again, recipe).equal(read_frames(path, recipe))
        assert read_waveform(again, 16000).equal(read_waveform(path, 16000))


def test_another_seed_gives_other_annotations():
    texts = [[u.text for conversation in write_dialogues(seed, **SMALL)[0] for u in conversation] for seed in (1, 2)]
    assert texts[0] != texts[1]


def test_the_full_corpus_is_as_uneven_as_ecf_and_has_enough_of_every_class():
    train, test = write_dialogues(seed=1)
    counts = Counter(utterance.emotion for conversation in train for utterance in conversation)
    assert set(counts) == set(EMOTIONS)
    assert min(counts.values()) >= 8
    assert 0.38 < counts["neutral"] / sum(counts.values()) < 0.48
    assert {u.emotion for conversation in test for u in conversation} == set(EMOTIONS)
    assert len(test) >= 40
    sizes = Counter(len(conversation) for conversation in train)
    assert sizes[1] >= 1
    assert max(sizes) == LONGEST
    ids = [conversation[0].conversation_id for conversation in train]
    assert sorted(ids) == list(range(1, 49))
    assert ids != sorted(ids)
    assert min(conversation[0].conversation_id for conversation in test) > max(ids)


@pytest.mark.slow
def test_words_look_and_sound_each_leave_some_emotions_apart_and_others_mixed():
    utterances = [u for seed in range(20) for conversation in write_dialogues(seed)[0] for u in conversation]
    faces = {e: np.array([vars(u.expression)["brow_height"] for u in utterances if u.emotion == e]) for e in EMOTIONS}
    voices = {e: np.array([vars(u.prosody)["loudness"] for u in utterances if u.emotion == e]) for e in EMOTIONS}

    def apart(values: dict[str, np.ndarray], one: str, other: str) -> float:
        return abs(values[one].mean() - values[other].mean()) / np.concatenate([values[one], values[other]]).std()

    assert apart(faces, "fear", "surprise") < 0.3
    assert apart(faces, "anger", "surprise") > 1.0
    assert apart(voices, "joy", "anger") < 0.3
    assert apart(voices, "joy", "sadness") > 1.0
    plain = [u.emotion for u in utterances if u.text == "What is this ?"]
    assert set(plain) == set(EMOTIONS)
