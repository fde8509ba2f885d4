import json
import logging
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from kedro.io import DataCatalog, MemoryDataset
from kedro.pipeline import Pipeline
from kedro.runner import SequentialRunner
from kedro_datasets.json import JSONDataset
from kedro_datasets.pandas import ParquetDataset

from support.made_corpus import drawn_conversations, made_conversation, write_ecf, write_meld
from support.shared_data import SHARED, needs_shared
from trimood.config.parameters import SplitParams
from trimood.corpus import corpus_files
from trimood.corpus import meld as meld_names
from trimood.corpus.ecf import AnnotationError
from trimood.corpus.meld import read_meld_map
from trimood.emotions import EMOTIONS
from trimood.pipelines.ingestion import nodes
from trimood.pipelines.ingestion import pipeline as ingestion

TABLES = [
    "development_utterances",
    "official_validation_utterances",
    "official_test_utterances",
    "training_utterances",
    "validation_utterances",
    "held_out_utterances",
]


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """A train file of 60 conversations and a folder `train` for its clips; no official test."""
    folder = tmp_path / "corpus"
    (folder / "train").mkdir(parents=True)
    write_ecf(folder, drawn_conversations(60, seed=0))
    return folder


def add_official_test(corpus: Path, emotion: str | None, name: str = "Subtask_2_test.json") -> None:
    write_ecf(corpus, {number: [emotion, "joy" if emotion else None] for number in range(1001, 1011)}, name)


def ingest(
    corpus: Path, results: Path, unit: str = "conversation", meld: Path | None = None, kind: str = "ecf"
) -> dict[str, Any]:
    """What the stage hands over for a corpus, by dataset name, read back from the files it wrote."""
    split = {"unit": unit, "validation_fraction": 0.1, "test_fraction": 0.2, "seed": 1}
    catalog = DataCatalog(
        {
            "corpus": MemoryDataset(corpus),
            "meld": MemoryDataset(meld or corpus),
            "params:data.corpus": MemoryDataset(kind),
            "params:data.split": MemoryDataset(SplitParams.model_validate(split)),
            "corpus_description": JSONDataset(filepath=str(results / "corpus_description.json")),
            **{name: ParquetDataset(filepath=str(results / f"{name}.parquet")) for name in TABLES},
        }
    )
    SequentialRunner().run(ingestion.create_pipeline(), catalog)
    return {name: catalog.load(name) for name in [*TABLES, "corpus_description"]}


def read_development(corpus: Path, meld: Path) -> pd.DataFrame:
    return nodes.read_annotations(corpus, meld, "ecf")[0]


def read_official_test(corpus: Path) -> pd.DataFrame:
    return nodes.take_labelled(nodes.read_annotations(corpus, corpus, "ecf")[2])


def describe_corpus(corpus: Path, meld: Path) -> dict[str, Any]:
    return dict(nodes.read_annotations(corpus, meld, "ecf")[3])


def ancestors(pipeline: Pipeline, dataset: str) -> set[str]:
    """Every dataset that `dataset` is made from, directly or through others."""
    return set().union(*(node.inputs for node in pipeline.to_outputs(dataset).nodes))


def same_rows(one: pd.DataFrame, other: pd.DataFrame) -> bool:
    return set(one["utterance"]) == set(other["utterance"])


def test_the_stage_takes_the_corpus_and_the_split_and_hands_over_tables() -> None:
    pipeline = ingestion.create_pipeline()
    assert pipeline.inputs() == {"corpus", "meld", "params:data.corpus", "params:data.split"}
    assert pipeline.all_outputs() == {*TABLES, "corpus_description", "official_annotations"}
    assert {node.namespace for node in pipeline.nodes} == {"ingestion"}


@pytest.mark.parametrize("split", ["training_utterances", "validation_utterances", "held_out_utterances"])
def test_no_utterance_of_the_official_test_reaches_a_split_of_the_train_file(split: str) -> None:
    pipeline = ingestion.create_pipeline()
    assert "development_utterances" in ancestors(pipeline, split)
    assert "official_test_utterances" not in ancestors(pipeline, split)


def test_without_an_official_test_conversations_are_held_out(
    corpus: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="trimood"):
        tables = ingest(corpus, tmp_path)
    assert "No official test file in" in caplog.text
    assert tables["official_test_utterances"].empty
    assert len(tables["held_out_utterances"]) == pytest.approx(0.2 * len(tables["development_utterances"]), rel=0.1)


def test_a_labelled_official_test_is_scored_and_nothing_is_held_out(corpus: Path, tmp_path: Path) -> None:
    add_official_test(corpus, "fear")
    tables = ingest(corpus, tmp_path)
    assert tables["held_out_utterances"].empty
    assert len(tables["official_test_utterances"]) == 20
    trained = pd.concat([tables["training_utterances"], tables["validation_utterances"]])
    assert same_rows(trained, tables["development_utterances"])
    assert not set(trained["utterance"]) & set(tables["official_test_utterances"]["utterance"])


@pytest.mark.parametrize("name", ["Subtask_2_test_eval_release_unlabelled.json", "Subtask_2_test.json"])
def test_beside_an_unlabelled_official_test_what_is_held_out_is_scored(
    corpus: Path, tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    add_official_test(corpus, None, name)
    tables = ingest(corpus, tmp_path)
    assert tables["official_test_utterances"].empty
    assert len(tables["held_out_utterances"])
    assert "20 of 20 official test utterances have no emotion and are not scored" in caplog.text


def test_of_a_partly_labelled_official_test_the_labelled_rows_are_scored(
    corpus: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_ecf(corpus, {1001: ["joy", None, "fear"]}, "Subtask_2_test.json")
    assert ingest(corpus, tmp_path)["official_test_utterances"]["utterance"].tolist() == ["dia1001utt1", "dia1001utt3"]
    assert "1 of 3 official test utterances have no emotion" in caplog.text


def test_a_labelled_test_file_goes_before_the_unlabelled_release(corpus: Path) -> None:
    add_official_test(corpus, None, "Subtask_2_test_eval_release_unlabelled.json")
    add_official_test(corpus, "anger", "Subtask_1_test.json")
    assert describe_corpus(corpus, corpus)["official_test"]["file"] == "Subtask_1_test.json"


def test_the_utterance_unit_divides_conversations(corpus: Path, tmp_path: Path) -> None:
    tables = ingest(corpus, tmp_path, unit="utterance")
    assert set(tables["training_utterances"]["conversation_id"]) & set(tables["held_out_utterances"]["conversation_id"])


def test_clips_lie_in_the_folder_of_their_split_or_beside_the_file(corpus: Path) -> None:
    add_official_test(corpus, "fear")
    assert read_development(corpus, corpus)["clip"].str.fullmatch(r"train/dia\d+utt\d+\.mp4").all()
    assert read_official_test(corpus)["clip"].str.fullmatch(r"dia\d+utt\d+\.mp4").all()
    (corpus / "test").mkdir()
    assert read_official_test(corpus)["clip"].str.fullmatch(r"test/dia\d+utt\d+\.mp4").all()


def test_clips_are_found_under_other_spellings_of_their_names(corpus: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_ecf(corpus, {1: ["joy", "fear", "anger", "joy"]})
    for name in ("dia1utt1.MP4", "dia1utt2.mkv", "dia1utt3.mp4", "dia1utt3.flv", "dia1utt4.wav"):
        (corpus / "train" / name).touch()
    clips = [Path(clip).name for clip in read_development(corpus, corpus)["clip"]]
    assert clips == ["dia1utt1.MP4", "dia1utt2.mkv", "dia1utt3.mp4", "dia1utt4.mp4"]
    assert "1 media files with the name of a missing clip are passed over because of their endings: dia1utt4.wav" in (
        caplog.text
    )


def test_a_linked_folder_of_clips_is_a_folder(corpus: Path, tmp_path: Path) -> None:
    write_ecf(corpus, {1: ["joy"]})
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk" / "dia1utt1.MP4").touch()
    (corpus / "train").rmdir()
    (corpus / "train").symlink_to(tmp_path / "disk")
    assert read_development(corpus, corpus)["clip"].tolist() == ["train/dia1utt1.MP4"]


def test_the_description_names_files_and_counts_and_shows_nothing_of_the_test_but_numbers(corpus: Path) -> None:
    write_ecf(corpus, {1: ["joy", "fear", "joy"], 4: ["anger"]})
    add_official_test(corpus, None)
    description = describe_corpus(corpus, corpus)
    digests = [description[part].pop("sha256") for part in ("train", "official_test")]
    assert [len(digest) for digest in digests] == [12, 12]
    emotions = {"surprise": 0, "fear": 1, "sadness": 0, "neutral": 0, "joy": 2, "anger": 1, "disgust": 0}
    assert description == {
        "corpus": "ecf",
        "train": {
            "file": "Subtask_2_train.json",
            "generation": "Subtask_2",
            "conversations": 2,
            "utterances": 4,
            "labelled_utterances": 4,
            "emotions": emotions,
        },
        "official_test": {
            "file": "Subtask_2_test.json",
            "generation": "Subtask_2",
            "conversations": 10,
            "utterances": 20,
            "labelled_utterances": 0,
        },
        "has_official_test": True,
        "official_test_is_labelled": False,
    }


def test_the_description_changes_with_the_annotations(corpus: Path) -> None:
    before = describe_corpus(corpus, corpus)
    assert describe_corpus(corpus, corpus) == before
    write_ecf(corpus, drawn_conversations(60, seed=1))
    assert describe_corpus(corpus, corpus)["train"]["sha256"] != before["train"]["sha256"]


def test_a_train_file_of_subtask_1_will_do(tmp_path: Path) -> None:
    write_ecf(tmp_path, [made_conversation(1, ["joy", "fear"], video_names=False)], "Subtask_1_train.json")
    assert read_development(tmp_path, tmp_path)["utterance"].tolist() == ["dia1utt1", "dia1utt2"]


def test_unlabelled_rows_in_the_train_file_are_refused(tmp_path: Path) -> None:
    write_ecf(tmp_path, {1: ["joy", None], 2: [None]})
    with pytest.raises(
        AnnotationError, match=r"2 of 3 utterances have no emotion, the first is dia1utt2\. Training needs"
    ):
        read_development(tmp_path, tmp_path)


def test_a_conversation_in_both_files_is_refused(corpus: Path) -> None:
    write_ecf(corpus, {5: ["joy"], 2000: ["joy"]}, "Subtask_2_test.json")
    with pytest.raises(AnnotationError, match=r"1 conversation_IDs are in the train and in the test file, .* is 5"):
        describe_corpus(corpus, corpus)


def test_a_folder_without_a_train_file_is_refused_with_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "MELD.csv").touch()
    with pytest.raises(AnnotationError, match=r"no train file; got MELD\.csv\. Expected Subtask_2_train\.json or"):
        read_development(tmp_path, tmp_path)
    with pytest.raises(AnnotationError, match=r"no train file; there is no such folder"):
        read_development(tmp_path / "elsewhere", tmp_path / "elsewhere")


def test_a_train_file_one_folder_too_deep_is_pointed_at(tmp_path: Path) -> None:
    write_ecf(tmp_path / "text", {1: ["joy"]})
    with pytest.raises(AnnotationError, match=r"but text/Subtask_2_train\.json exists: is that folder the corpus\?"):
        read_development(tmp_path, tmp_path)


def test_each_annotation_file_is_parsed_once_in_a_run_and_melds_folders_are_searched_once(
    mapped_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_ecf(mapped_corpus, {number: [*EMOTIONS] for number in range(1, 21)})
    add_official_test(mapped_corpus, "fear")
    made_meld(mapped_corpus, *MELD_CLIPS)
    parsed: list[str] = []
    listed: list[Path] = []

    def counted_loads(text: str, **settings: Any) -> Any:
        content = plain_loads(text, **settings)
        if isinstance(content, list):  # an annotation file; Kedro reads other JSON
            parsed.append("test" if content[0]["conversation_ID"] > 1000 else "train")
        return content

    def counted_names(folder: Path) -> dict[str, str]:
        listed.append(folder)
        return plain_names(folder)

    plain_loads, plain_names = json.loads, meld_names.video_names
    monkeypatch.setattr("json.loads", counted_loads)
    for module in (corpus_files, meld_names):
        monkeypatch.setattr(module, "video_names", counted_names)
    ingest(mapped_corpus, tmp_path / "results")
    assert sorted(parsed) == ["test", "train"]
    # MELD's three folders, the train folder (for names, and for what is in MELD's layout instead), and the test's.
    assert sorted(Counter(listed).values()) == [1, 1, 1, 1, 2]


@pytest.mark.slow
@needs_shared
def test_the_published_corpus_trains_on_the_train_file_and_is_scored_on_the_official_test(tmp_path: Path) -> None:
    tables = ingest((SHARED or Path()) / "reference" / "ecf2", tmp_path)
    sizes = {name: len(tables[name]) for name in TABLES}
    assert sizes["development_utterances"] == 13619
    assert sizes["training_utterances"] + sizes["validation_utterances"] == 13619
    assert sizes["validation_utterances"] == pytest.approx(1362, abs=3)
    assert sizes["held_out_utterances"] == 0
    assert sizes["official_test_utterances"] == 3101
    assert tables["corpus_description"]["official_test_is_labelled"]


@needs_shared
def test_the_real_clips_of_the_shared_corpus_are_where_the_table_says(tmp_path: Path) -> None:
    corpus = (SHARED or Path()) / "media" / "ravdess_ecf"
    table = read_development(corpus, corpus)
    assert len(table) == 52
    assert all((corpus / clip).is_file() for clip in table["clip"])
    tables = ingest(corpus, tmp_path)
    assert tables["official_test_utterances"].empty


MELD_MAP = """1 3

1 | Ross | joy | One | train_dia5_utt0
2 | Ross | fear | Two | dev_dia6_utt1
3 | Ross | anger | Three | test_dia7_utt2
2 3

1 | Ross | joy | Four | 
2 | Ross | fear | Five | train_dia5_utt1
3 | Ross | anger | Six | train_dia5_utt2
"""  # noqa: W291 - as published, a blank stands after the last bar


def made_meld(folder: Path, *clips: str) -> Path:
    for clip in clips:
        (folder / clip).parent.mkdir(parents=True, exist_ok=True)
        (folder / clip).write_bytes(b"a clip")
    return folder


@pytest.fixture
def mapped_corpus(tmp_path: Path) -> Path:
    """Six utterances and the map; one clip in ECF's layout, which is also in MELD's."""
    corpus = tmp_path / "mapped"
    write_ecf(corpus, {1: ["joy", "fear", "anger"], 2: ["joy", "fear", "anger"]})
    (corpus / "all_data_pair_ECFvsMELD.txt").write_text(MELD_MAP)
    return made_meld(corpus, "train/dia2utt2.mp4")


MELD_CLIPS = (
    "train_splits/dia5_utt0.mp4",
    "train_splits/dia5_utt1.mp4",
    "dev_splits_complete/dia6_utt1.mp4",
    "output_repeated_splits_test/dia7_utt2.mp4",
    "output_repeated_splits_test/final_videos_testdia5_utt2.mp4",
)


@pytest.mark.parametrize("below", ["", "MELD.Raw", "MELD.Raw/unpacked"])
def test_clips_in_melds_folders_are_used_where_they_lie_and_ecfs_own_go_first(
    mapped_corpus: Path, below: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made_meld(mapped_corpus / below, *MELD_CLIPS)
    with caplog.at_level(logging.INFO, logger="trimood"):
        table = read_development(mapped_corpus, mapped_corpus).set_index("utterance")["clip"]
    inside = f"{below}/" if below else ""
    assert table.to_dict() == {
        "dia1utt1": f"{inside}train_splits/dia5_utt0.mp4",
        "dia1utt2": f"{inside}dev_splits_complete/dia6_utt1.mp4",
        "dia1utt3": f"{inside}output_repeated_splits_test/dia7_utt2.mp4",
        "dia2utt1": "train/dia2utt1.mp4",
        "dia2utt2": "train/dia2utt2.mp4",
        "dia2utt3": f"{inside}train_splits/dia5_utt2.mp4",
    }
    there = [key for key, clip in table.items() if (mapped_corpus / clip).is_file()]
    assert there == ["dia1utt1", "dia1utt2", "dia1utt3", "dia2utt2"]
    assert (
        "clips: 1 in ECF's layout, 3 in MELD's (1 of its train, 1 of its dev, 1 of its test), 2 are missing, "
        "1 of them not in MELD"
    ) in caplog.text


def test_melds_clips_are_found_under_other_spellings_of_their_names(mapped_corpus: Path) -> None:
    made_meld(mapped_corpus, *(clip.replace(".mp4", ".MP4") for clip in MELD_CLIPS))
    table = read_development(mapped_corpus, mapped_corpus).set_index("utterance")["clip"]
    assert table["dia1utt1"] == "train_splits/dia5_utt0.MP4"
    assert describe_corpus(mapped_corpus, mapped_corpus)["clips"]["meld"] == {"train": 1, "dev": 1, "test": 1}


def test_melds_folder_may_lie_elsewhere(mapped_corpus: Path, tmp_path: Path) -> None:
    meld = made_meld(tmp_path / "MELD.Raw", *MELD_CLIPS)
    table = read_development(mapped_corpus, meld).set_index("utterance")["clip"]
    assert table["dia1utt1"] == str(meld / "train_splits/dia5_utt0.mp4")
    assert (mapped_corpus / table["dia1utt1"]).is_file()
    assert table["dia2utt2"] == "train/dia2utt2.mp4"
    assert describe_corpus(mapped_corpus, meld)["clips"] == {
        "ecf": 1,
        "meld": {"train": 1, "dev": 1, "test": 1},
        "missing": 2,
        "unmapped": 1,
    }


def test_the_map_alone_changes_nothing(mapped_corpus: Path) -> None:
    clips = read_development(mapped_corpus, mapped_corpus)["clip"]
    assert clips.str.fullmatch(r"train/dia\d+utt\d+\.mp4").all()
    assert "clips" not in describe_corpus(mapped_corpus, mapped_corpus)


def test_melds_folders_without_the_map_are_refused(mapped_corpus: Path) -> None:
    made_meld(mapped_corpus, *MELD_CLIPS)
    (mapped_corpus / "all_data_pair_ECFvsMELD.txt").unlink()
    with pytest.raises(
        AnnotationError, match=r"MELD's folders .* exist, but the map from utterances to clips is missing"
    ):
        read_development(mapped_corpus, mapped_corpus)


def test_a_meld_folder_without_melds_folders_is_refused(mapped_corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere" / "train").mkdir(parents=True)
    with pytest.raises(AnnotationError, match=r"\(meld_dir\): none of MELD's folders train_splits, .*; got train\."):
        read_development(mapped_corpus, tmp_path / "elsewhere")


def test_two_folders_of_one_meld_split_are_named(mapped_corpus: Path) -> None:
    made_meld(mapped_corpus / "old", "train_splits/dia5_utt0.mp4")
    made_meld(mapped_corpus / "new", "train_splits/dia5_utt0.mp4")
    with pytest.raises(AnnotationError, match=r"train_splits exists 2 times: new/train_splits, old/train_splits"):
        read_development(mapped_corpus, mapped_corpus)


@pytest.mark.slow
@needs_shared
def test_the_published_corpus_is_found_in_melds_layout(tmp_path: Path) -> None:
    published = (SHARED or Path()) / "reference" / "ecf2"
    for name in ("Subtask_2_train.json", "all_data_pair_ECFvsMELD.txt"):
        (tmp_path / name).symlink_to(published / name)
    meld = read_meld_map(published / "all_data_pair_ECFvsMELD.txt")["meld_clip"].dropna()
    for folder in meld.str.split("/").str[0].unique():
        (tmp_path / folder).mkdir()
    for clip in meld:
        if not clip.endswith("dev_splits_complete/dia110_utt7.mp4"):  # not in MELD's own release
            (tmp_path / clip).touch()
    assert describe_corpus(tmp_path, tmp_path)["clips"] == {
        "ecf": 0,
        "meld": {"train": 9776, "dev": 1077, "test": 2535},
        "missing": 231,
        "unmapped": 230,
    }


@pytest.fixture
def meld_corpus(tmp_path: Path) -> Path:
    """MELD's three files; the numbers of dialogues begin anew in each of them."""
    splits = {"train": {0: [*EMOTIONS], 1: ["joy", "fear"]}, "dev": {0: ["joy", "anger"]}, "test": {0: [*EMOTIONS]}}
    return write_meld(tmp_path / "meld", **splits)


def test_meld_keeps_its_own_splits(meld_corpus: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="trimood"):
        tables = ingest(meld_corpus, tmp_path, kind="meld")
    keys = {name: set(tables[name]["utterance"].str.split("_").str[0]) for name in TABLES}
    assert keys == {
        "development_utterances": {"train"},
        "official_validation_utterances": {"dev"},
        "official_test_utterances": {"test"},
        "training_utterances": {"train"},
        "validation_utterances": {"dev"},
        "held_out_utterances": set(),
    }
    assert [len(tables[name]) for name in ("training_utterances", "validation_utterances")] == [9, 2]
    assert "data.split is not used" in caplog.text
    assert "validation: no utterance of surprise, fear, sadness, neutral, disgust among 2" in caplog.text


def test_the_description_names_melds_files_and_the_corpus(meld_corpus: Path) -> None:
    description = nodes.read_annotations(meld_corpus, meld_corpus, "meld")[3]
    assert description["corpus"] == "meld"
    assert (description["train"]["file"], description["train"]["generation"]) == ("train_sent_emo.csv", "sent_emo")
    assert description["official_validation"]["utterances"] == 2
    assert description["official_test_is_labelled"]
    assert describe_corpus_of_ecf(meld_corpus)["corpus"] == "ecf"


def describe_corpus_of_ecf(folder: Path) -> dict[str, Any]:
    write_ecf(folder, {1: ["joy"]})
    return describe_corpus(folder, folder)


@pytest.mark.parametrize("elsewhere", [False, True])
def test_melds_clips_are_used_where_they_are(meld_corpus: Path, tmp_path: Path, elsewhere: bool) -> None:
    clips = (
        "train/train_splits/dia0_utt0.MP4",
        "dev_splits_complete/dia0_utt1.mp4",
        "dev_splits_complete/dia0_utt9.mp4",
    )
    meld = made_meld(tmp_path / "MELD.Raw" if elsewhere else meld_corpus, *clips)
    train, dev, *_ = nodes.read_annotations(meld_corpus, meld, "meld")
    paths = pd.concat([train, dev]).set_index("utterance")["clip"]
    there = {key: clip for key, clip in paths.items() if (meld_corpus / clip).is_file()}
    before = f"{meld}/" if elsewhere else ""
    assert there == {"train_dia0_utt0": f"{before}{clips[0]}", "dev_dia0_utt1": f"{before}{clips[1]}"}
    assert paths["train_dia1_utt1"] == f"{before}train/train_splits/dia1_utt1.mp4"


def test_a_missing_split_of_meld_is_refused_and_each_corpus_names_the_environment_of_the_other(
    meld_corpus: Path, corpus: Path
) -> None:
    (meld_corpus / "dev_sent_emo.csv").unlink()
    words = r"meld: MELD's dev_sent_emo\.csv is missing; got test_sent_emo\.csv, train_sent_emo\.csv\. .* all three"
    with pytest.raises(AnnotationError, match=words):
        nodes.read_annotations(meld_corpus, meld_corpus, "meld")
    with pytest.raises(AnnotationError, match=r"no train file; got test_sent_emo.* which --env=meld reads"):
        nodes.read_annotations(meld_corpus, meld_corpus, "ecf")
    with pytest.raises(AnnotationError, match=r"train_sent_emo\.csv and dev_.* are missing; .*read with --env=ecf"):
        nodes.read_annotations(corpus, corpus, "meld")
