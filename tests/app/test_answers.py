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
from trimood.app.answers import NO_MODEL, NOTHING_THERE, Question, _with_lines, answer, in_conversation, true_emotion
from trimood.app.choices import Example, ModelsInMemory
from trimood.config.experiment_settings import ContextParams
from trimood.config.parameters import ServingParams
from trimood.emotions import EMOTIONS
from trimood.serving.decoding import Decoder
from trimood.serving.predictor import Prediction, Utterance, load_predictor
from trimood.serving.requests import ACCEPTED_FORMATS


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
    (shown,) = answer(memory, Question(path, words), ["exp6_head"])
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
    (shown,) = answer(memory, Question(clips / "whole.mp4", ""), ["exp6_head"])
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
    (given,) = answer(memory, Question(clips / "whole.mp4", "so happy !"), ["exp6_head"])
    assert {plot.postprocess(figure).type for figure in (given.frames, given.log_mel)} == {"matplotlib"}


@pytest.mark.slow
def test_two_models_answer_side_by_side_each_on_what_it_reads(memory: ModelsInMemory, clips: Path) -> None:
    of_exp3, of_exp6 = answer(memory, Question(clips / "whole.mp4", "so happy !"), ["exp3", "exp6_head"])
    assert of_exp3.probabilities != of_exp6.probabilities
    assert list(of_exp3.probabilities or {}) == list(EMOTIONS)
    assert "Reads words, picture. Absent: nothing." in of_exp3.note
    assert of_exp3.log_mel is None
    assert of_exp6.log_mel is not None
    assert memory.names == ["exp3", "exp6_head"]


@pytest.mark.slow
def test_a_model_that_reads_nothing_of_it_says_so_and_costs_the_other_nothing(
    sources: dict[str, str], trained_folder: Path, decoder: Decoder, tmp_path: Path
) -> None:
    write_trained(tmp_path / "exp_video", sources, ("video",))
    shutil.copytree(trained_folder / "exp3", tmp_path / "exp3")
    blind, other = answer(ModelsInMemory(tmp_path, {}, decoder), Question(None, "so happy !"), ["exp_video", "exp3"])
    assert blind.probabilities is None
    assert "it lacks every modality that exp_video uses: video (no clip)" in blind.note
    assert other.probabilities


@pytest.mark.parametrize(
    ("clip", "words", "names", "said"),
    [
        (None, "  ", ["exp3", "exp6_head"], NOTHING_THERE),
        (None, "so happy !", [], NO_MODEL),
        (
            "list.mp4",
            "so happy !",
            ["exp3"],
            f"list.mp4 is not a video or sound file that the page opens. Use {ACCEPTED_FORMATS}.",
        ),
        ("empty.mp4", "so happy !", ["exp3"], "empty.mp4 is not a video or sound file"),
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
    answers = answer(memory, Question(tmp_path / clip if clip else None, words), names)
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


def test_lines_around_an_utterance_are_read_as_in_its_conversation(
    reader_of_conversations: Path, decoder: Decoder
) -> None:
    memory = ModelsInMemory(reader_of_conversations, {}, decoder)
    question = Question(None, "No !", " Ross ", "Joey: Before that .\n\nMonica: I won !\n", "Joey: Why ?")
    (given,) = answer(memory, question, ["exp13"])
    (alone,) = answer(memory, Question(None, "No !"), ["exp13"])
    whole = [
        Utterance(None, "I won !", conversation="a", speaker="Monica"),
        Utterance(None, "No !", conversation="a", speaker="Ross"),
    ]
    _, wanted = load_predictor("exp13", reader_of_conversations).predict(whole)
    assert isinstance(wanted, Prediction)
    assert given.probabilities == pytest.approx(wanted.calibrated, abs=1e-6)
    assert given.probabilities != pytest.approx(alone.probabilities, abs=1e-3)
    assert "Context (1 before and speakers): 1 of the lines around it were read." in given.note
    assert "Context (1 before and speakers): 0 of" in alone.note


@pytest.mark.parametrize(("speakers", "speaker"), [(True, "Ross"), (False, "")])
def test_a_name_before_the_words_is_no_word_whether_or_not_the_model_reads_speakers(
    speakers: bool, speaker: str
) -> None:
    around = _with_lines(Question(None, "No !", "", "Ross: Hi"), ContextParams(previous=1, speakers=speakers))
    assert [(of.text, of.speaker) for of in around] == [("Hi", speaker), ("No !", "")]


def test_of_a_conversation_only_the_words_that_the_model_reads_are_given() -> None:
    whole = [Utterance(Path(f"{n}.mp4"), words, str(n), "a") for n, words in enumerate(["Hi", "", "Oh", "No", "Why"])]
    other = Utterance(Path("x.mp4"), "Else", "x", "b")
    given = in_conversation([*whole[:3], other, *whole[3:]], 4, ContextParams(previous=2, next=1))
    assert [(of.name, of.clip) for of in given] == [("0", None), ("2", None), ("3", Path("3.mp4")), ("4", None)]
    assert in_conversation(whole, 2, ContextParams()) == [whole[2]]
    assert in_conversation([other], 0, ContextParams(previous=2)) == [other]


def test_what_each_modality_changes_is_said_of_those_that_are_there(memory: ModelsInMemory, clips: Path) -> None:
    (given,) = answer(memory, Question(clips / "mute.mp4", "so happy !"), ["exp6_head"])
    (blind,) = answer(memory, Question(None, "so happy !"), ["exp6_head"])
    first = max(given.probabilities or {}, key=lambda emotion: (given.probabilities or {})[emotion])
    head, _, *rows = given.why.splitlines()
    assert head.startswith(f"| without | {first} (")
    assert [row.split(" | ")[0] for row in rows] == ["| words", "| picture"]
    assert blind.why == ""  # without its only modality, a model knows nothing


@pytest.mark.parametrize(
    ("clip", "words", "emotion"),
    [
        ("copy.mp4", "Hi .", "joy"),
        ("copy.mp4", " ", "joy"),
        ("copy.mp4", "No !", ""),
        ("mute.mp4", "Hi .", ""),
        (None, "Hi .", ""),
    ],
)
def test_the_true_emotion_is_that_of_the_examples_clip_with_its_words_or_none(
    clips: Path, tmp_path: Path, clip: str | None, words: str, emotion: str
) -> None:
    shutil.copy(clips / "whole.mp4", tmp_path / "copy.mp4")
    shutil.copy(clips / "mute.mp4", tmp_path)
    example = Example(str(clips / "whole.mp4"), "Hi .", "joy", "Ross", "", "")
    assert true_emotion([example], tmp_path / clip if clip else None, words) == emotion


def test_an_answer_says_whether_it_is_right(memory: ModelsInMemory) -> None:
    (given,) = answer(memory, Question(None, "so happy !"), ["exp3"])
    found = given.probabilities or {}
    right, *_, wrong = sorted(found, key=lambda emotion: -found[emotion])
    for true, said in ((right, "**Right**"), (wrong, "**Wrong**")):
        (judged,) = answer(memory, Question(None, "so happy !", true=true), ["exp3"])
        assert judged.note.startswith(f"{said}: the true emotion is {true}.")
    assert "true emotion" not in given.note
