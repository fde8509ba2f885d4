"""MELD with the configuration of --env=meld, from its annotation files to examples."""

from pathlib import Path

import pandas as pd
import pytest
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project

from support.demo_project import PROJECT
from support.made_checkpoints import TINY_AUDIO, TINY_VIDEO, made_checkpoint
from support.made_corpus import write_meld
from support.made_media import make_clip
from trimood.corpus.preparation import BadClips

FOLDERS = {"train": "train_splits", "dev": "dev_splits_complete", "test": "output_repeated_splits_test"}


@pytest.fixture
def given(tmp_path: Path) -> dict[str, object]:
    """A corpus of MELD of five utterances, of which train_dia125_utt3 has a broken clip, and what else a run needs."""
    splits = {"train": {125: ["joy", "fear", "anger", "sadness"]}, "dev": {0: ["joy"]}, "test": {0: ["neutral"]}}
    corpus = write_meld(tmp_path / "MELD", **splits)
    names = [
        *(f"train_splits/dia125_utt{number}" for number in range(3)),
        *(f"{FOLDERS[s]}/dia0_utt0" for s in ("dev", "test")),
    ]
    for seed, name in enumerate(names):
        make_clip(corpus / f"{name}.mp4", seconds=0.5, seed=seed)
    (corpus / "train_splits/dia125_utt3.mp4").write_bytes(b"corrupt, as in MELD's own release")
    return {
        "data_root": str(tmp_path / "data"),
        "corpus_dir": str(corpus),
        "video_checkpoint": str(made_checkpoint(tmp_path / "video", TINY_VIDEO)),
        "audio_checkpoint": str(made_checkpoint(tmp_path / "audio", TINY_AUDIO)),
        "data": {"clips": {"executor": "serial"}},
    }


def prepare(given: dict[str, object]) -> None:
    bootstrap_project(PROJECT)
    with KedroSession.create(PROJECT, env="meld", runtime_params=given) as session:
        session.run(pipeline_names=["preprocessing"])


@pytest.mark.slow
def test_meld_becomes_examples_of_its_own_splits_and_its_broken_clip_is_named(
    given: dict[str, object], tmp_path: Path
) -> None:
    with pytest.raises(BadClips, match=r"dia125_utt3\.mp4"):
        prepare(given)
    given["data"] = {"clips": {"executor": "serial", "on_bad_clip": "drop"}}
    prepare(given)
    examples = {
        split: pd.read_parquet(tmp_path / f"data/05_model_input/{split}_examples.parquet")
        for split in ("training", "validation", "test")
    }
    assert {split: table["utterance"].to_list() for split, table in examples.items()} == {
        "training": ["train_dia125_utt0", "train_dia125_utt1", "train_dia125_utt2"],
        "validation": ["dev_dia0_utt0"],
        "test": ["test_dia0_utt0"],
    }
    assert all(table["has_video"].all() and table["has_audio"].all() for table in examples.values())
    excluded = pd.read_csv(tmp_path / "data/08_reporting/excluded_clips.csv", sep=None, engine="python")
    assert excluded["utterance"].to_list() == ["train_dia125_utt3"]
