import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from support.made_corpus import drawn_conversations, made_conversation, write_ecf, write_meld
from support.made_media import make_clip
from support.shared_data import SHARED, needs_shared
from trimood.config.parameters import ClipParams, Corpus, SplitParams
from trimood.corpus.corpus_files import read_annotations
from trimood.corpus.data_report import BetweenFiles, DataReport, SpanExtremes
from trimood.corpus.data_summary import summarise
from trimood.corpus.ecf import AnnotationError
from trimood.corpus.findings import KINDS
from trimood.corpus.published import TRAIN
from trimood.emotions import EMOTIONS
from trimood.media.contents import content_name
from trimood.media.errors import ClipError
from trimood.media.facts import FACT_COLUMNS, ClipFacts, failed
from trimood.media.probe import probe_clip
from trimood.pipelines.check_data.nodes import (
    assemble_manifest,
    assign_splits,
    draw_report,
    measure_leakage,
    probe_clips,
)
from trimood.reports.data_check_figures import choose_clips

SPLIT = SplitParams(unit="conversation", validation_fraction=0.2, test_fraction=0.2, seed=1)
CLIPS = ClipParams(on_bad_clip="fail", executor="serial", workers=1, time_limit_seconds=60)

Checked = tuple[DataReport, pd.DataFrame]


def check(
    corpus: Path, facts: Path, split: SplitParams = SPLIT, clips: ClipParams = CLIPS, kind: Corpus = "ecf"
) -> Checked:
    """Report and manifest of a corpus folder, through every node but the one that draws."""
    annotated, files = read_annotations(corpus, corpus, kind)
    splits, state = assign_splits(annotated, split)
    manifest = assemble_manifest(annotated, splits, probe_clips(annotated, corpus, facts, facts / "digests", clips))
    report = summarise(manifest, files, state, measure_leakage(manifest, split))
    assert DataReport.model_validate_json(report.model_dump_json()) == report  # what the catalog does with it
    return report, manifest


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clip(tmp_path_factory.mktemp("clip") / "good.mp4", 1.2)


def write_good_clips(folder: Path, clip: Path, utterances: int) -> None:
    """A clip for each utterance of conversations 1 to 10, all of different bytes."""
    folder.mkdir()
    for conversation in range(1, 11):
        for utterance in range(1, utterances + 1):
            name = f"dia{conversation}utt{utterance}.mp4"
            # Bytes behind the last box of an mp4 are read by nobody.
            (folder / name).write_bytes(clip.read_bytes() + b"\0\0\0\x18free" + name.encode().ljust(16))


@pytest.fixture(scope="module")
def checked_corpus(tmp_path_factory: pytest.TempPathFactory, clip: Path) -> Path:
    """A folder with `corpus`, ten conversations of the seven emotions with good clips, and `facts` of these clips."""
    folder = tmp_path_factory.mktemp("checked")
    write_ecf(folder / "corpus", {number: [*EMOTIONS] for number in range(1, 11)})
    write_good_clips(folder / "corpus" / "train", clip, len(EMOTIONS))
    annotated, _ = read_annotations(folder / "corpus", folder / "corpus")
    probe_clips(annotated, folder / "corpus", folder / "facts", folder / "digests", CLIPS)
    return folder


@pytest.fixture
def corpus(tmp_path: Path, checked_corpus: Path) -> Path:
    """The corpus of `checked_corpus`, with its facts beside it: a clip that a test does not change needs no probing."""
    shutil.copytree(checked_corpus, tmp_path, dirs_exist_ok=True)
    return tmp_path / "corpus"


def found(manifest: pd.DataFrame, utterance: str) -> str:
    return str(manifest.set_index("utterance").loc[utterance, "findings"])


@pytest.mark.slow
def test_a_copy_without_any_problem_is_good_and_the_next_step_is_to_train(corpus: Path, tmp_path: Path) -> None:
    report, manifest = check(corpus, tmp_path / "facts")
    assert report.verdict.level == "good"
    assert report.verdict.summary == "Good: all 70 clips exist, and their pictures and sound can be decoded."
    assert "kedro run --pipelines=exp4" in report.verdict.next_steps[0]
    assert not manifest[[name for name, kind in KINDS.items() if kind.weight != "known"]].any(axis=None)
    assert report.splits == {"training": 42, "validation": 14, "held_out": 14}


@pytest.mark.slow
def test_every_kind_of_broken_clip_is_found_and_none_stops_the_check(corpus: Path, tmp_path: Path) -> None:
    train = corpus / "train"
    (train / "dia1utt1.mp4").unlink()
    (train / "dia1utt2.mp4").write_bytes(b"")
    (train / "dia1utt3.mp4").write_text("404 not found")
    (train / "dia1utt4.mp4").write_bytes((train / "dia1utt4.mp4").read_bytes()[:2000])
    make_clip(train / "dia1utt5.mp4", audio="none")
    make_clip(train / "dia1utt6.mp4", audio="silent")
    make_clip(train / "dia1utt7.mp4", audio_seconds=0.01)
    make_clip(train / "dia2utt1.mp4", 0.3, seed=1)
    make_clip(train / "dia2utt2.mp4", 31.0, fps=2, seed=2)
    make_clip(train / "dia2utt3.mp4", 3.0, audio_seconds=1.0)
    shutil.copy(train / "dia2utt5.mp4", train / "dia2utt4.mp4")
    report, manifest = check(corpus, tmp_path / "facts")
    expected = {
        "dia1utt1": "clip_missing",
        "dia1utt2": "pictures_unreadable, sound_unreadable",
        "dia1utt3": "pictures_unreadable, sound_unreadable",
        "dia1utt4": "pictures_unreadable, sound_unreadable",
        "dia1utt5": "no_audio_track",
        "dia1utt6": "sound_silent",
        "dia1utt7": "sound_too_short",
        "dia2utt1": "too_many_words, fewer_frames_than_wanted",
        "dia2utt2": "too_few_words",
        "dia2utt3": "sound_and_pictures_differ",
        "dia2utt4": "same_bytes",
        "dia2utt5": "same_bytes",
        "dia2utt6": "",
    }
    assert {key: found(manifest, key) for key in expected} == expected
    assert (report.verdict.level, report.clips.left_out) == ("usable", 7)
    assert report.verdict.summary.startswith("Usable without 7 of 70 utterances")
    assert report.findings["train"]["pictures_unreadable"] == 3
    assert report.clips.lack_one == 3
    page, *figures = draw_report(manifest, report, corpus, CLIPS)
    assert "dia1utt3" in page
    assert len(figures) == 3


@pytest.mark.slow
def test_clips_that_hung_or_crashed_the_decoder_are_found_and_not_opened_again_for_their_picture(
    corpus: Path, tmp_path: Path
) -> None:
    annotated, files = read_annotations(corpus, corpus)
    splits, state = assign_splits(annotated, SPLIT)
    probed = probe_clips(annotated, corpus, tmp_path / "facts", tmp_path / "digests", CLIPS)
    for place, problem in enumerate(["timed_out", "crashed"]):
        error = ClipError(corpus / probed["clip"][place], problem, "in the test")  # type: ignore[arg-type]
        probed.loc[place, list(FACT_COLUMNS)] = pd.Series(asdict(failed(error)))
        (corpus / probed["clip"][place]).write_text("whoever opens this finds no picture")
    manifest = assemble_manifest(annotated, splits, probed)
    assert [found(manifest, Path(clip).stem) for clip in probed["clip"][:2]] == ["clip_timed_out", "clip_crashed"]
    report = summarise(manifest, files, state, measure_leakage(manifest, SPLIT))
    assert (report.verdict.level, report.clips.left_out) == ("usable", 2)
    page, *_ = draw_report(manifest, report, corpus, CLIPS)
    assert "decoding took too long" in page


@pytest.mark.slow
@needs_shared
def test_a_published_file_that_lost_conversations_is_usable_with_care_at_most(tmp_path: Path) -> None:
    published = json.loads(((SHARED or Path()) / "reference" / "ecf2" / "Subtask_2_train.json").read_text())
    write_ecf(tmp_path, [conversation for conversation in published if conversation["conversation_ID"] > 3])
    report, _ = check(tmp_path, tmp_path / "facts")
    assert report.verdict.summary.startswith("The annotations can be read, but all 13,")
    assert (
        "Subtask_2_train.json differs from the published ECF 2.0 train: conversations: 1,371"
        in report.verdict.reasons[1]
    )


@pytest.mark.slow
def test_a_corpus_with_not_one_clip_gets_a_report_on_its_annotations(tmp_path: Path) -> None:
    write_ecf(tmp_path / "corpus", drawn_conversations(40, seed=0))
    report, manifest = check(tmp_path / "corpus", tmp_path / "facts")
    assert report.verdict.level == "annotations_only"
    assert report.clips.there == 0
    assert report.findings["train"]["clip_missing"] == len(manifest)
    page, *_ = draw_report(manifest, report, tmp_path / "corpus", CLIPS)
    assert "clips are missing: nothing can be trained yet" in page


@pytest.mark.slow
def test_clips_that_are_not_in_use_are_not_looked_for(corpus: Path, tmp_path: Path) -> None:
    unused = CLIPS.model_copy(update={"in_use": False})
    report, manifest = check(corpus, tmp_path, clips=unused)
    manifest.loc[0, "too_many_words"] = True  # for its annotated span
    assert choose_clips(manifest).empty
    assert (report.verdict.level, report.verdict.reasons[0]) == ("annotations_only", "data.clips.in_use is false.")
    assert "exp12" in report.verdict.next_steps[0]
    assert (report.clips.there, report.clips.usable, report.clips.left_out) == (0, 0, 0)
    assert [report.findings["train"][kind] for kind in ("clip_missing", "same_bytes", "rotated")] == [None] * 3
    assert report.findings["train"]["typographic_texts"] is not None
    page, *_ = draw_report(manifest, report, corpus, unused)
    assert "No clip was looked for: experiments on text alone can be trained." in page
    assert "existing clips" not in page


@pytest.mark.slow
def test_a_copy_that_lost_most_of_its_clips_or_all_of_an_emotion_is_not_usable(corpus: Path, tmp_path: Path) -> None:
    fear = EMOTIONS.index("fear") + 1
    for conversation in range(1, 11):
        (corpus / "train" / f"dia{conversation}utt{fear}.mp4").unlink()
    report, _ = check(corpus, tmp_path / "facts")
    assert (report.verdict.level, report.verdict.reasons) == (
        "not_usable",
        ("No training utterance remains for: fear.",),
    )
    for clip in sorted((corpus / "train").glob("*.mp4"))[:40]:
        clip.unlink()
    report, _ = check(corpus, tmp_path / "facts")
    assert report.verdict.reasons[0] == "Only 20 utterances remain, fewer than half of the corpus."


@pytest.mark.slow
def test_an_emotion_that_was_never_annotated_is_not_lost(clip: Path, tmp_path: Path) -> None:
    corpus = tmp_path / "corpus"
    write_ecf(corpus, {number: [emotion for emotion in EMOTIONS if emotion != "fear"] for number in range(1, 11)})
    write_good_clips(corpus / "train", clip, len(EMOTIONS) - 1)
    (corpus / "train" / "dia3utt3.mp4").unlink()
    report, _ = check(corpus, tmp_path / "facts")
    assert (report.verdict.level, report.verdict.reasons) == ("usable", ())


@pytest.mark.slow
def test_clips_that_decode_and_are_the_wrong_ones_make_no_good_copy(corpus: Path, tmp_path: Path) -> None:
    first, *others = sorted((corpus / "train").glob("*.mp4"))
    for clip in others[:3]:
        shutil.copy(first, clip)
    assert check(corpus, tmp_path / "facts")[0].verdict.reasons != ()  # 4 of 70 are more than one in twenty
    for clip in others[1:3]:
        make_clip(clip, seed=100 + others.index(clip))
    assert check(corpus, tmp_path / "facts")[0].verdict.level == "good"  # two of one kind may be chance
    for clip in others:
        shutil.copy(first, clip)
    report, _ = check(corpus, tmp_path / "facts")
    assert report.verdict.level == "usable"
    assert report.verdict.reasons[0].startswith("70 of the 70 clips: the file is identical to another")


@pytest.mark.slow
def test_an_official_test_without_a_clip_is_said(corpus: Path, tmp_path: Path) -> None:
    write_ecf(corpus, {20: [*EMOTIONS]}, "Subtask_2_test.json")
    report, _ = check(corpus, tmp_path / "facts")
    assert report.verdict.level == "usable"
    assert report.verdict.reasons[0].startswith("None of the official test's 7 labelled utterances has a usable clip")


@pytest.mark.slow
def test_conversations_in_both_files_are_named_and_make_a_copy_unusable(corpus: Path, tmp_path: Path) -> None:
    write_ecf(corpus, {10: [*EMOTIONS], 11: ["joy"]}, "Subtask_2_test.json")
    report, manifest = check(corpus, tmp_path / "facts")
    assert report.verdict.level == "not_usable"
    assert report.verdict.reasons[0].startswith("1 conversations are in both the train and the test file")
    assert report.leakage.between_files.conversations_in_both == 1
    assert manifest["text_in_training_file"].sum() == report.findings["official_test"]["text_in_training_file"] == 7


@pytest.mark.slow
def test_texts_and_conversations_that_stand_in_both_files_are_counted(corpus: Path, tmp_path: Path) -> None:
    write_ecf(corpus, {20: [*EMOTIONS], 21: ["joy", "joy"]}, "Subtask_2_test.json")
    between = check(corpus, tmp_path / "facts")[0].leakage.between_files
    assert between.conversations_in_both == 0
    assert between.conversations_of_the_same_words == 1
    assert between.test_utterances_verbatim_in_train == 7  # "I feel joy , number 1 !" is said nowhere in train


@pytest.mark.slow
@pytest.mark.parametrize("unit", ["conversation", "utterance"])
def test_the_current_split_is_probed_and_a_random_one_beside_it(corpus: Path, tmp_path: Path, unit: Any) -> None:
    report, _ = check(corpus, tmp_path / "facts", SPLIT.model_copy(update={"unit": unit}))
    probes = report.leakage.splits
    assert report.verdict.level == ("good" if unit == "conversation" else "usable")
    assert ("set data.split.unit=conversation" in " ".join(report.verdict.reasons)) == (unit == "utterance")
    assert set(probes) == {"validation", "held_out"}
    leaks = {probe.conversations_on_both_sides > 0 for probe in probes.values()}
    assert leaks == {unit == "utterance"}
    assert report.leakage.random_by_utterance is not None
    assert report.leakage.random_by_utterance.share_with_neighbour == 1.0


@pytest.mark.slow
def test_clips_unlike_their_span_are_found_and_those_within_the_tolerance_are_not(corpus: Path, tmp_path: Path) -> None:
    conversations = [made_conversation(number, [*EMOTIONS]) for number in range(1, 11)]
    for number, end in enumerate(["00:00:11.200", "00:00:11.450", "00:00:12.000", "00:00:10.000"]):
        conversations[0]["conversation"][number]["video_source"] = ["S01E01", "00:00:10.000", end]
    write_ecf(corpus, conversations)
    report, manifest = check(corpus, tmp_path / "facts")
    differs = manifest.loc[manifest["duration_differs"], "utterance"].to_list()
    assert differs == ["dia1utt3", "dia1utt4"]
    assert report.findings["train"]["span_empty"] == 1
    assert report.spans["train"] == SpanExtremes(
        shortest="dia1utt4", shortest_seconds=0.0, longest="dia1utt3", longest_seconds=2.0
    )


@pytest.mark.slow
def test_what_could_not_be_looked_for_is_not_counted_as_nothing_found(corpus: Path, tmp_path: Path) -> None:
    report, manifest = check(corpus, tmp_path / "facts")
    of_train = report.findings["train"]
    unknown = {name for name, count in of_train.items() if count is None}
    starts = ("span", "broken", "in_meld", "meld_label", "in_ecf", "cut_wrongly")
    assert unknown == {name for name in KINDS if name.startswith(starts)}
    page, *_ = draw_report(manifest, report, corpus, CLIPS)
    assert "train_video_source_from_MECPE.json" in page
    assert "beside MELD" not in page  # nothing that a user can add: only a copy of MELD is checked for it


@pytest.mark.slow
def test_labels_unlike_melds_are_counted_where_melds_files_lie_in_the_folder(corpus: Path, tmp_path: Path) -> None:
    rows = [f"{n} | Ross | {emotion} | Words | train_dia3_utt{n}" for n, emotion in enumerate(EMOTIONS, start=1)]
    rows[6] = "7 | Ross | disgust | Words | test_dia4_utt0"
    (corpus / "all_data_pair_ECFvsMELD.txt").write_text("\n".join(["1 7", "(1,1)", *rows]))
    (corpus / "train_sent_emo.csv").write_text("Dialogue_ID,Utterance_ID,Emotion\n3,1,surprise\n3,2,anger\n")
    of_train = check(corpus, tmp_path / "facts")[0].findings["train"]
    assert (of_train["in_meld_test"], of_train["meld_label_differs"]) == (1, 1)


@pytest.fixture
def meld(tmp_path: Path) -> Path:
    """MELD's three files without clips; among the names are those of clips that MELD itself has broken."""
    splits = {"train": {125: [*EMOTIONS]}, "dev": {110: ["joy"] * 8}, "test": {38: ["fear"] * 5, 3: [*EMOTIONS]}}
    return write_meld(tmp_path / "meld", **splits)


@pytest.mark.slow
def test_a_copy_of_meld_is_checked_with_its_own_splits_and_its_broken_clips_are_named(
    meld: Path, clip: Path, tmp_path: Path
) -> None:
    (meld / "train_splits").mkdir()
    shutil.copy(clip, meld / "train_splits" / "dia125_utt0.mp4")
    report, manifest = check(meld, tmp_path / "facts", kind="meld")
    assert report.splits == {"training": 7, "validation": 8, "official_test": 12}
    assert manifest.set_index("utterance").loc["train_dia125_utt0", "clip_seconds"] == pytest.approx(1.2, abs=0.1)
    assert "duration_differs" in found(manifest, "train_dia125_utt0")  # MELD's files have the spans
    for name in ("train_dia125_utt3", "dev_dia110_utt7"):
        assert "clip_missing" in found(manifest, name)
        assert "broken_in_meld" in found(manifest, name)
    assert "cut_wrongly_in_meld" in found(manifest, "test_dia38_utt4")
    assert [of["broken_in_meld"] for of in report.findings.values()] == [1, 1, 0]
    assert report.leakage.splits["validation"].conversations_on_both_sides == 0
    page, *_ = draw_report(manifest, report, meld, CLIPS)
    assert "official validation file" in page
    assert "Subtask_2_train.json and Subtask_2_test.json beside MELD" in page
    assert "all_data_pair" not in page


def test_conversations_of_meld_that_are_in_ecf_are_reported_if_its_files_are_there(meld: Path, tmp_path: Path) -> None:
    report, _ = check(meld, tmp_path / "facts", kind="meld")
    assert report.leakage.conversations_in_ecf is None
    assert report.verdict.next_steps[0].startswith("Unpack MELD.Raw's archives")
    spoken = made_conversation(1, ["joy", "fear"])
    for number, utterance in enumerate(spoken["conversation"]):  # the moments of train_dia125_utt2 and _utt3
        utterance["video_source"] = ["S03E125", f"00:00:{20 + 10 * number}.700", f"00:00:{22 + 10 * number}.000"]
    write_ecf(meld, [spoken], "Subtask_2_test.json")
    report, manifest = check(meld, tmp_path / "facts", kind="meld")
    assert manifest.loc[manifest["in_ecf_test"], "utterance"].to_list() == ["train_dia125_utt2", "train_dia125_utt3"]
    assert report.leakage.conversations_in_ecf == {
        "train": {"train": 0, "official_test": 1},
        "official_validation": {"train": 0, "official_test": 0},
        "official_test": {"train": 0, "official_test": 0},
    }
    words = "1 conversations of MELD's train file are in ECF's official test: leave them out of the training"
    assert any(reason.startswith(words) for reason in report.verdict.reasons)
    (meld / "Subtask_2_test.json").rename(meld / "Subtask_2_train.json")
    report, _ = check(meld, tmp_path / "facts", kind="meld")
    assert report.leakage.conversations_in_ecf["train"] == {"train": 1, "official_test": 0}


def test_a_missing_split_of_meld_is_a_finding(meld: Path, tmp_path: Path) -> None:
    (meld / "dev_sent_emo.csv").unlink()
    report, _ = check(meld, tmp_path / "facts", kind="meld")
    assert report.verdict.level == "not_usable"
    assert report.verdict.reasons[0].startswith("There is no official validation file: MELD's own splits are used")


@pytest.mark.slow
def test_a_test_file_without_labels_is_checked_too_and_scored_by_nothing(corpus: Path, tmp_path: Path) -> None:
    write_ecf(corpus, {30: [None, None]}, "Subtask_2_test_eval_release_unlabelled.json")
    report, manifest = check(corpus, tmp_path / "facts")
    assert manifest.loc[manifest["side"] == "official_test", "split"].to_list() == ["none", "none"]
    assert report.splits["held_out"] == 14
    assert report.findings["official_test"]["clip_missing"] == 2
    page, *_ = draw_report(manifest, report, corpus, CLIPS)
    assert "has no labels" in page


@pytest.mark.slow
def test_a_train_file_without_labels_or_no_train_file_is_a_finding(corpus: Path, tmp_path: Path) -> None:
    write_ecf(corpus, {1: [None, "joy"], 2: ["fear"], 3: ["fear"]})
    report, _ = check(corpus, tmp_path / "facts")
    assert report.verdict.reasons[0] == "1 of 4 utterances of the train file have no emotion."
    (corpus / "Subtask_2_train.json").rename(corpus / "Subtask_2_test.json")
    report, manifest = check(corpus, tmp_path / "facts")
    assert (report.verdict.level, report.verdict.reasons) == (
        "not_usable",
        ("There is no train file, so there is nothing to train on.",),
    )
    draw_report(manifest, report, corpus, CLIPS)


@pytest.mark.slow
def test_a_corpus_too_small_to_split_is_a_finding(corpus: Path, tmp_path: Path) -> None:
    write_ecf(corpus, {1: [*EMOTIONS]})
    report, manifest = check(corpus, tmp_path / "facts")
    assert report.verdict.level == "not_usable"
    assert "cannot be split" in report.verdict.reasons[0]
    draw_report(manifest, report, corpus, CLIPS)


def test_only_annotations_that_cannot_be_read_stop_the_check(corpus: Path) -> None:
    (corpus / "Subtask_2_train.json").write_text("[{")
    with pytest.raises(AnnotationError, match=r"Subtask_2_train\.json, line 1"):
        read_annotations(corpus, corpus)
    (corpus / "Subtask_2_train.json").unlink()
    with pytest.raises(AnnotationError, match="no train file"):
        read_annotations(corpus, corpus)


@pytest.mark.slow
def test_a_second_check_decodes_nothing_and_finds_the_same(corpus: Path, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "facts")
    _, first = check(corpus, tmp_path / "facts")
    (file,) = (tmp_path / "facts").glob("v*/*.jsonl")
    before = file.read_bytes()
    assert before.count(b"\n") == 70
    processes = CLIPS.model_copy(update={"executor": "processes", "workers": 2})
    _, second = check(corpus, tmp_path / "facts", clips=processes)
    pd.testing.assert_frame_equal(first, second)
    assert list((tmp_path / "facts").glob("v*/*.jsonl")) == [file]
    assert file.read_bytes() == before


def test_only_contents_without_facts_are_opened_and_the_same_bytes_once(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []

    def count(task: tuple[Path, Any, Any]) -> tuple[ClipFacts, bool]:
        opened.append(task[0].name)
        return probe_clip(task)

    monkeypatch.setattr("trimood.media.probe.probe_clip", count)
    clips = corpus / "train"
    for name in ("dia1utt1.mp4", "dia1utt2.mp4"):
        make_clip(clips / name, seed=99)
    shutil.copy(clips / "dia1utt5.mp4", clips / "dia1utt4.mp4")
    _, manifest = check(corpus, tmp_path / "facts")
    assert len(opened) == 1
    assert manifest.set_index("clip").loc["train/dia1utt2.mp4", "frame_count"] == 10
    check(corpus, tmp_path / "facts")
    assert len(opened) == 1


def test_facts_after_a_temporary_failure_are_not_kept(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(task: tuple[Path, Any, Any]) -> tuple[ClipFacts, bool]:
        return ClipFacts(content=content_name(task[0]), video_problem="unreadable"), False

    make_clip(corpus / "train" / "dia1utt1.mp4", seed=99)
    with monkeypatch.context() as moment:
        moment.setattr("trimood.media.probe.probe_clip", fail)
        _, manifest = check(corpus, tmp_path / "facts")
    assert manifest.set_index("clip").loc["train/dia1utt1.mp4", "video_problem"] == "unreadable"
    _, manifest = check(corpus, tmp_path / "facts")
    assert pd.isna(manifest.set_index("clip").loc["train/dia1utt1.mp4", "video_problem"])


@pytest.mark.slow
def test_the_sheet_shows_each_kind_before_it_shows_one_twice(corpus: Path, tmp_path: Path) -> None:
    for number in range(1, 8):
        make_clip(corpus / "train" / f"dia1utt{number}.mp4", audio="none", seed=number)
    make_clip(corpus / "train" / "dia9utt1.mp4", audio="silent")
    (corpus / "train" / "dia9utt2.mp4").unlink()
    _, manifest = check(corpus, tmp_path / "facts")
    chosen = choose_clips(manifest, shown=3)
    assert set(chosen["findings"]) == {"no_audio_track", "sound_silent"}
    assert len(chosen) == 3


@pytest.mark.slow
def test_the_manifest_comes_back_from_parquet_as_it_was(corpus: Path, tmp_path: Path) -> None:
    (corpus / "train" / "dia1utt1.mp4").unlink()
    _, manifest = check(corpus, tmp_path / "facts")
    manifest.to_parquet(tmp_path / "manifest.parquet")
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "manifest.parquet"), manifest)


@pytest.mark.slow
def test_each_annotation_file_is_opened_once(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_ecf(corpus, {20: [*EMOTIONS]}, "Subtask_2_test.json")
    opened: list[str] = []
    whole = Path.open

    def counted(path: Path, *arguments: Any, **keywords: Any) -> Any:
        opened.append(path.name)
        return whole(path, *arguments, **keywords)

    monkeypatch.setattr(Path, "open", counted)
    report, _ = check(corpus, tmp_path / "facts")
    names = [name for name in opened if name.startswith("Subtask")]
    assert sorted(names) == ["Subtask_2_test.json", "Subtask_2_train.json"]
    assert report.files.train.sha256 is not None


@pytest.mark.slow
@needs_shared
def test_the_real_annotations_print_the_published_counts_and_every_anomaly(tmp_path: Path) -> None:
    report, manifest = check((SHARED or Path()) / "reference" / "ecf2", tmp_path / "facts")
    train, test = report.files.train, report.files.official_test
    assert (train.conversations, train.utterances) == (1374, 13619)
    assert (test.conversations, test.utterances) == (341, 3101)
    assert train.emotions == TRAIN.emotions
    assert train.differs_in == test.differs_in == ()
    for side, published in report.published_anomalies.items():
        counts = report.findings[side] | report.anomalies[side]
        known = {name: n for name, n in published.items() if name != "meld_label_differs"}
        assert {name: counts[name] for name in known} == known
        assert len(known) >= 5
    assert report.spans["train"].longest == "dia278utt5"
    assert report.spans["official_test"].shortest == "dia2020utt6"
    assert report.leakage.between_files == BetweenFiles(
        conversations_in_both=0,
        conversations_of_the_same_words=0,
        test_utterances_verbatim_in_train=362,
        texts_in_both=140,
    )
    assert report.verdict.level == "annotations_only"
    page, *_ = draw_report(manifest, report, tmp_path, CLIPS)
    for words in (
        "Subtask_2_train.json is ECF 2.0 train, every count as published",
        "dia358utt4",
        "dia564utt4, dia850utt8",
        "305",
        "2,535",
    ):
        assert words in page
