"""What the page shows of a model: its calibrated probabilities, what it was given, and what was absent."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from support.made_media import make_clip
from support.trained_experiments import write_trained
from trimood.app.answers import NO_MODEL, NOTHING_THERE, answer
from trimood.app.choices import ModelsInMemory
from trimood.config.parameters import ServingParams
from trimood.emotions import EMOTIONS
from trimood.serving.decoding import Decoder
from trimood.serving.predictor import Prediction, Utterance, load_predictor


@pytest.fixture(scope="module")
def decoder() -> Decoder:
    return Decoder(ServingParams(longest_text_characters=100, most_frames=20))


@pytest.fixture
def memory(trained_folder: Path, decoder: Decoder) -> ModelsInMemory:
    return ModelsInMemory(trained_folder, {}, decoder)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("clip", "words", "absent"),
    [
        ("whole.mp4", "so happy !", "nothing"),
        ("mute.mp4", "so happy !", "sound (no audio track)"),
        ("whole.mp4", "", "words (no words)"),
        (None, "so happy !", "picture (no clip), sound (no clip)"),
    ],
)
def test_an_answer_has_the_calibrated_probabilities_of_prediction_and_says_what_was_absent(
    memory: ModelsInMemory, trained_folder: Path, clips: Path, clip: str | None, words: str, absent: str
) -> None:
    path = clips / clip if clip else None
    (shown,) = answer(memory, path, words, ["exp6_head"])
    (wanted,) = load_predictor("exp6_head", trained_folder).predict([Utterance(path, words)])
    assert isinstance(wanted, Prediction)
    assert shown.probabilities == wanted.calibrated != wanted.probabilities
    assert f"Reads words, picture, sound. Absent: {absent}." in shown.note
    assert (shown.frames is None) == (wanted.frames is None)
    assert (shown.log_mel is None) == (wanted.log_mel is None)


@pytest.mark.slow
def test_the_pictures_are_of_what_the_model_was_given(
    memory: ModelsInMemory, trained_folder: Path, clips: Path
) -> None:
    (shown,) = answer(memory, clips / "whole.mp4", "", ["exp6_head"])
    (wanted,) = load_predictor("exp6_head", trained_folder).predict([Utterance(clips / "whole.mp4")])
    assert isinstance(wanted, Prediction)
    assert wanted.frames is not None
    assert wanted.log_mel is not None
    assert shown.frames is not None
    assert shown.log_mel is not None
    visible = [ax for ax in shown.frames.axes if ax.get_visible()]
    drawn = torch.stack([torch.tensor(ax.images[0].get_array().data) for ax in visible])
    assert torch.equal(drawn, wanted.frames.permute(0, 2, 3, 1))
    (image,) = shown.log_mel.axes[0].images
    assert torch.equal(torch.tensor(image.get_array().data), wanted.log_mel.T)
    assert image.get_extent()[1] == pytest.approx(len(wanted.log_mel) / 100)  # seconds


@pytest.mark.slow
def test_gradio_takes_the_pictures(memory: ModelsInMemory, clips: Path) -> None:
    plot = pytest.importorskip("gradio").Plot()
    (given,) = answer(memory, clips / "whole.mp4", "so happy !", ["exp6_head"])
    assert {plot.postprocess(figure).type for figure in (given.frames, given.log_mel)} == {"matplotlib"}


@pytest.mark.slow
def test_two_models_answer_side_by_side_each_on_what_it_reads(memory: ModelsInMemory, clips: Path) -> None:
    of_exp3, of_exp6 = answer(memory, clips / "whole.mp4", "so happy !", ["exp3", "exp6_head"])
    assert of_exp3.probabilities != of_exp6.probabilities
    assert list(of_exp3.probabilities or {}) == list(EMOTIONS)
    assert "Reads words, picture. Absent: nothing." in of_exp3.note
    assert of_exp3.log_mel is None
    assert of_exp6.log_mel is not None
    assert memory.names == ["exp3", "exp6_head"]


def test_a_model_that_reads_nothing_of_it_says_so_and_costs_the_other_nothing(
    sources: dict[str, str], trained_folder: Path, decoder: Decoder, tmp_path: Path
) -> None:
    write_trained(tmp_path / "exp_video", sources, ("video",))
    shutil.copytree(trained_folder / "exp3", tmp_path / "exp3")
    blind, other = answer(ModelsInMemory(tmp_path, {}, decoder), None, "so happy !", ["exp_video", "exp3"])
    assert blind.probabilities is None
    assert "it lacks every modality that exp_video uses: video (no clip)" in blind.note
    assert other.probabilities


@pytest.mark.parametrize(
    ("clip", "words", "names", "said"),
    [
        (None, "  ", ["exp3", "exp6_head"], NOTHING_THERE),
        (None, "so happy !", [], NO_MODEL),
        ("list.mp4", "so happy !", ["exp3"], "list.mp4 is not a video. Use MP4, MOV, MKV, WebM or AVI."),
        ("empty.mp4", "so happy !", ["exp3"], "empty.mp4 is not a video."),
        ("broken.mp4", "so happy !", ["exp3"], "This cannot be predicted. unreadable: "),
        ("long.mp4", "so happy !", ["exp3"], "This cannot be predicted. long.mp4: it has more than 20 frames"),
        (None, "happy " * 20, ["exp3"], "text has 120 characters; the maximum is 100"),
        (None, "so happy !", ["exp77"], "This model cannot be loaded. model=exp77: no trained model of this name"),
    ],
)
def test_what_cannot_be_answered_is_told_in_words(
    memory: ModelsInMemory, clips: Path, tmp_path: Path, clip: str | None, words: str, names: list[str], said: str
) -> None:
    (tmp_path / "list.mp4").write_text("#EXTM3U\n#EXTINF:10,\nfile:///etc/passwd\n")
    (tmp_path / "empty.mp4").touch()
    shutil.copy(clips / "broken.mp4", tmp_path)
    make_clip(tmp_path / "long.mp4", seconds=2.1)
    answers = answer(memory, tmp_path / clip if clip else None, words, names)
    assert len(answers) == max(1, len(names))
    for shown in answers:
        assert shown.note.startswith(said)
        assert shown.probabilities is None


@pytest.mark.slow
def test_the_page_needs_neither_torch_nor_transformers_before_the_first_answer() -> None:
    code = "import sys, trimood.app.server\nprint(*{name.partition('.')[0] for name in sys.modules})"
    paths = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], env=paths, capture_output=True, text=True, check=True)
    assert {"torch", "transformers", "peft", "matplotlib", "trimood"} & set(done.stdout.split()) == {"trimood"}


def test_the_page_says_that_it_has_no_context(reader_of_conversations: Path, decoder: Decoder) -> None:
    memory = ModelsInMemory(reader_of_conversations, {}, decoder)
    (given,) = answer(memory, None, "No !", ["exp13"])
    assert "Trained with context (1 before and speakers), of which the page has none." in given.note
