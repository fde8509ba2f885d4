"""Several clips at once: a table, a timeline for subtitles, scores, files, and words for what is wrong."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from support.made_media import make_clip
from trimood.app.answers import NO_MODEL
from trimood.app.choices import ModelsInMemory
from trimood.app.many import (
    MOST_MINUTES,
    MOST_UTTERANCES,
    MOST_WORDS_BYTES,
    NOTHING_THERE,
    ManyAnswers,
    _results,
    answer_many,
)
from trimood.config.experiment_settings import ContextParams
from trimood.config.parameters import ServingParams
from trimood.corpus.subtitles import cues_of
from trimood.serving.decoding import Decoder
from trimood.serving.predictor import Prediction, Refusal, Utterance, load_predictor

CUES = "1\n00:00:00,000 --> 00:00:01,000\nHi .\n\n2\n00:00:01,000 --> 00:00:02,000\nNo !\n\n"


@pytest.fixture(scope="module")
def decoder() -> Decoder:
    return Decoder(ServingParams(longest_text_characters=100, longest_seconds=1.5))


@pytest.fixture
def memory(trained_folder: Path, decoder: Decoder) -> ModelsInMemory:
    return ModelsInMemory(trained_folder, {}, decoder)


def ask(memory: ModelsInMemory, folder: Path, *given: Path, name: str = "exp6_head") -> ManyAnswers:
    own = folder / "own"
    shutil.rmtree(own, ignore_errors=True)
    own.mkdir()
    return answer_many(memory, name, given, own, lambda done, of: None)


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.slow
def test_clips_with_a_table_of_words_are_predicted_and_scored_and_a_bad_one_is_named(
    memory: ModelsInMemory, clips: Path, tmp_path: Path
) -> None:
    table = "clip,text,emotion\nwhole.mp4,=so happy !,joy\nmute.mp4,No !,fear\nbroken.mp4,Hi .,\n"
    files = [clips / name for name in ("whole.mp4", "mute.mp4", "broken.mp4")]
    found = ask(memory, tmp_path, *files, write(tmp_path / "words.csv", table))
    assert found.table is not None
    assert found.table["utterance"].tolist() == ["mute", "whole"]
    assert found.table["true"].tolist() == ["fear", "joy"]
    (wanted,) = load_predictor("exp6_head", memory._models).predict([Utterance(files[0], "=so happy !")])
    assert isinstance(wanted, Prediction)
    assert found.table["emotion"].iloc[1] == f"{wanted.emotion} {wanted.calibrated[wanted.emotion]:.2f}"
    assert "Against 2 true emotions: macro F1" in found.note
    assert "1 not predicted:<br>broken: unreadable: " in found.note
    assert [file.name for file in found.files] == ["predictions.csv", "predictions.html"]
    assert "'=so happy !" in found.files[0].read_text()  # a spreadsheet would run it
    assert found.video is None
    assert found.timeline == ""


@pytest.mark.slow
def test_a_video_with_subtitles_becomes_a_timeline_even_if_the_whole_is_too_long_for_a_clip(
    memory: ModelsInMemory, tmp_path: Path
) -> None:
    video = make_clip(tmp_path / "long.mp4", seconds=3.0)
    subtitles = write(tmp_path / "long.srt", CUES + "3\n00:00:01,000 --> 00:00:03,000\nToo long\n")
    found = ask(memory, tmp_path, video, subtitles)
    assert found.video is not None
    assert found.video.read_bytes() == video.read_bytes()
    assert found.timeline.count('data-second="') == 2
    assert 'data-second="1.0"' in found.timeline
    assert "long_003: it lasts more than 1.5 s, the maximum (TRIMOOD_LONGEST_SECONDS)." in found.note
    assert found.files[-1].name == "long with emotions.srt"
    assert [cue[:2] for cue in cues_of(found.files[-1])] == [(0, 1000), (1000, 2000)]
    (whole,) = ask(memory, tmp_path, video).note.split("<br>")[1:]
    assert whole == "long: it lasts more than 1.5 s, the maximum (TRIMOOD_LONGEST_SECONDS)."


@pytest.mark.slow
def test_subtitles_alone_have_a_timeline_and_their_conversation(
    reader_of_conversations: Path, decoder: Decoder, tmp_path: Path
) -> None:
    memory = ModelsInMemory(reader_of_conversations, {}, decoder)
    found = ask(memory, tmp_path, write(tmp_path / "a.srt", CUES), name="exp13")
    assert found.table is not None
    assert found.table["words"].tolist() == ["Hi .", "No !"]
    assert found.timeline.count('data-second="') == 2
    assert found.video is None
    utterances = [Utterance(None, words, conversation="a") for words in ("Hi .", "No !")]
    _, wanted = load_predictor("exp13", reader_of_conversations).predict(utterances)
    assert isinstance(wanted, Prediction)
    assert found.table["emotion"].iloc[1] == f"{wanted.emotion} {wanted.calibrated[wanted.emotion]:.2f}"


def answers(found: ManyAnswers) -> dict[str, str]:
    """The emotion and its probability as the page shows them, by utterance."""
    assert found.table is not None
    return dict(zip(found.table["utterance"], found.table["emotion"], strict=True))


def predicted(models: Path, *utterances: Utterance) -> dict[str, str]:
    """The same of the pipeline `predict` for words in the order of their conversation."""
    found = [result for result in load_predictor("exp13", models).predict(utterances) if isinstance(result, Prediction)]
    return {of.name: f"{of.emotion} {of.calibrated[of.emotion]:.2f}" for of in found}


@pytest.mark.slow
def test_a_conversation_is_read_in_the_order_that_its_table_gives(
    reader_of_conversations: Path, decoder: Decoder, tmp_path: Path
) -> None:
    rows = ["utt1,I won !,talk,1,Joey", "utt10,No !,talk,10,Ross", "utt2,so much fear .,talk,2,Monica"]
    table = write(tmp_path / "words.csv", "\n".join(["clip,text,conversation,order,speaker", *rows]) + "\n")
    found = answers(ask(ModelsInMemory(reader_of_conversations, {}, decoder), tmp_path, table, name="exp13"))
    in_order = [
        Utterance(None, words, name, "talk", speaker)
        for name, words, speaker in (
            ("utt1", "I won !", "Joey"),
            ("utt2", "so much fear .", "Monica"),
            ("utt10", "No !", "Ross"),
        )
    ]
    assert list(found) == ["utt1", "utt10", "utt2"]  # the table is shown as it was given
    assert found == predicted(reader_of_conversations, *in_order)
    assert found != predicted(reader_of_conversations, in_order[0], in_order[2], in_order[1])


def test_what_is_refused_is_nobody_s_context_as_in_the_pipeline(
    memory: ModelsInMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: dict[str, list[str]] = {}

    def predict_one(_: object, __: object, around: list[Utterance], name: str) -> Prediction | Refusal:
        read[name] = [of.name for of in around]
        if name == "b":
            return Refusal(name, "unreadable")
        return Prediction(name, "", {}, {}, {}, None, None)

    monkeypatch.setattr("trimood.app.many.predict_one", predict_one)
    asked = [Utterance(None, "Hi", name, "talk") for name in "abcd"]
    reader = SimpleNamespace(context=ContextParams(previous=1, next=1))
    results = _results(memory, reader, asked, lambda done, of: None)
    assert [isinstance(result, Refusal) for result in results] == [False, True, False, False]
    assert (read["a"], read["c"], read["d"]) == (["a", "c"], ["a", "c", "d"], ["c", "d"])


def test_after_some_minutes_the_others_are_refused_and_what_is_predicted_stays(
    memory: ModelsInMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trimood.app.many.predict_one", lambda *_: Prediction("", "", {}, {}, {}, None, None))
    times = iter([0, 1, 60 * MOST_MINUTES + 1])
    monkeypatch.setattr("trimood.app.many.time.monotonic", lambda: next(times))
    reader = SimpleNamespace(context=ContextParams(previous=1, next=1))
    asked = [Utterance(None, "Hi", name, "talk") for name in "ab"]
    done, late = _results(memory, reader, asked, lambda done, of: None)
    assert isinstance(done, Prediction)
    assert late == Refusal("b", "the page predicts for at most 30 minutes. Give fewer files.")


@pytest.mark.slow
def test_a_bad_file_among_good_ones_is_named_and_words_are_found_by_the_name_before_the_upload(
    memory: ModelsInMemory, clips: Path, tmp_path: Path
) -> None:
    more = tmp_path / "more"
    more.mkdir()
    good = shutil.copy(clips / "mute.mp4", tmp_path / "Oh no.mp4")  # "Oh no!?.mp4", as Gradio stores it
    bad = write(tmp_path / "_bad_.mp4", "#EXTM3U\nfile:///etc/passwd")
    twice = [Path(shutil.copy(clips / "whole.mp4", folder / "twice.mp4")) for folder in (tmp_path, more)]
    table = "clip,text,speaker\nOh no!?.mp4,so happy !,Ross\n_bad_.mp4,Hi,\ntwice.mp4,Hi,\nnowhere,Hi,\n"
    found = ask(memory, tmp_path, Path(good), bad, *twice, write(tmp_path / "words.csv", table), name="exp3")
    assert found.table is not None
    assert found.table[["utterance", "words"]].values.tolist() == [["Oh no", "so happy !"]]
    assert "2 not predicted:<br>\\_bad\\_.mp4 is not a video or sound file" in found.note
    assert "<br>twice.mp4: 2 files have this name. Rename all but one of them." in found.note
    assert "Note: words.csv: 1 of its 4 clips match none of yours: nowhere" in found.note


def test_a_long_name_of_a_speaker_is_refused(memory: ModelsInMemory, tmp_path: Path) -> None:
    table = f"clip,text,conversation,speaker\na,Hi,talk,{'x' * 101}\nb,so happy !,{'y' * 101},Ross\nc,so happy !,,\n"
    found = ask(memory, tmp_path, write(tmp_path / "words.csv", table), name="exp3")
    assert list(answers(found)) == ["c"]
    assert "<br>a: speaker has 101 characters; the maximum is 100" in found.note
    assert "<br>b: conversation has 101 characters; the maximum is 100" in found.note


@pytest.mark.parametrize(
    ("files", "name", "said"),
    [
        ({}, "exp3", NOTHING_THERE),
        ({"a.srt": CUES}, "", NO_MODEL),
        ({"a.srt": CUES}, "exp77", "This model cannot be loaded. model=exp77: no trained model of this name"),
        (
            {"a.mp4": "#EXTM3U\nfile:///etc/passwd"},
            "exp3",
            "None of these utterances can be predicted.\n\n1 not predicted:<br>a.mp4 is not a video or sound file",
        ),
        ({"a.csv": "clip,words\na,Hi"}, "exp3", "These files cannot be predicted. a.csv: got the columns clip, words."),
        ({"<i>*.csv": "clip,words\na,Hi"}, "exp3", "These files cannot be predicted. &lt;i&gt;\\*.csv: got the col"),
        (
            {"a.mp4": "", "a.csv": "clip,text\n", "b.csv": "clip,text\n"},
            "exp3",
            "These files cannot be predicted. 2 files may hold the words: a.csv, b.csv. Keep one",
        ),
        (
            {"a.txt": "Hi .", "b.txt": "No !"},
            "exp3",
            "These files cannot be predicted. there is no clip among these files: a.txt, b.txt.",
        ),
        (
            {"a.txt": "x" * (MOST_WORDS_BYTES + 1)},
            "exp3",
            "These files cannot be predicted. a.txt: it has 1,000,001 by",
        ),
        (
            {"a.txt": "happy " * 20},
            "exp3",
            "None of these utterances can be predicted.\n\n1 not predicted:<br>a_001: text has 119 characters",
        ),
        (
            {"a.csv": "clip,text\n" + "".join(f"c{n},Hi\n" for n in range(MOST_UTTERANCES + 1))},
            "exp3",
            "These files cannot be predicted. there are 301 utterances; the page predicts at most 300.",
        ),
    ],
)
def test_what_cannot_be_predicted_is_told_in_words(
    memory: ModelsInMemory, tmp_path: Path, files: dict[str, str], name: str, said: str
) -> None:
    given = [write(tmp_path / file, content) for file, content in files.items()]
    found = ask(memory, tmp_path, *given, name=name)
    assert found.note.startswith(said)
    assert str(tmp_path) not in found.note
    assert found.table is None


def test_two_files_of_one_name_are_refused(memory: ModelsInMemory, tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    given = [write(tmp_path / "a.srt", CUES), write(tmp_path / "more" / "a.srt", CUES)]
    assert "a.srt: 2 files have this name. Rename all but one of them." in ask(memory, tmp_path, *given).note
