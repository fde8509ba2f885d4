"""Utterances that are spans of a clip are cut under names that every file system takes."""

from pathlib import Path

import pandas as pd

from support.made_media import make_clip
from trimood.corpus.tables import OWN_UTTERANCE_COLUMNS
from trimood.media.execution import Execution
from trimood.serving.preparation import cut_spans


def test_cues_of_a_clip_with_a_long_name_are_cut(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / (80 * "\u3042" + ".mp4"), seconds=1.0)
    names = [f"more/{clip.stem}_{number:03}" for number in (1, 2)]
    spans = pd.DataFrame(
        [(name, "Hi .", str(clip), 0, 400) for name in names], columns=list(OWN_UTTERANCE_COLUMNS)
    ).astype(OWN_UTTERANCE_COLUMNS)
    cut, refused = cut_spans(spans, tmp_path / "cut", Execution("serial"))
    assert refused.empty
    files = [Path(clip) for clip in cut["clip"]]
    assert len(set(files)) == 2
    assert all(file.is_file() and file.parent == tmp_path / "cut" / "more" for file in files)
    again, _ = cut_spans(spans, tmp_path / "cut", Execution("serial"))
    assert again["clip"].tolist() == cut["clip"].tolist()
