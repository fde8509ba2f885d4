"""Utterances that are spans of a clip are cut under names that every file system takes."""

from pathlib import Path

import pandas as pd
import pytest

from support.made_media import make_clip
from support.rewritten_media import remuxed
from trimood.corpus.tables import OWN_UTTERANCE_COLUMNS
from trimood.media.execution import Execution
from trimood.media.video import shown_times
from trimood.serving.preparation import cut_spans


def spans_of(clip: Path, *times: tuple[int, int]) -> pd.DataFrame:
    rows = [
        (f"more/{clip.stem}_{number:03}", "Hi .", str(clip), *span, "", 0, "", "")
        for number, span in enumerate(times, start=1)
    ]
    return pd.DataFrame(rows, columns=list(OWN_UTTERANCE_COLUMNS)).astype(OWN_UTTERANCE_COLUMNS)


def test_a_cue_that_ends_after_its_clip_is_cut_at_the_end_and_one_that_begins_there_is_refused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="trimood")
    clip = make_clip(tmp_path / "talk.mp4", seconds=1.0)
    spans = spans_of(clip, (0, 500), (600, 3000), (1000, 3000))
    cut, refused = cut_spans(spans, tmp_path / "cut", Execution("serial"))
    assert cut["utterance"].tolist() == ["more/talk_001", "more/talk_002"]
    assert refused["message"].str.contains("the video ends at 1.000 s").tolist() == [True]
    assert [len(shown_times(Path(path))) for path in cut["clip"]] == [5, 4]
    assert "1 cues end after their clip does and are cut at its end" in caplog.text
    again, _ = cut_spans(spans, tmp_path / "cut", Execution("serial"))
    assert again["clip"].tolist() == cut["clip"].tolist()


def test_a_cue_in_the_part_that_a_file_lacks_is_refused(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "talk.mp4", seconds=4.0)
    content = remuxed(clip, tmp_path / "talk.mkv").read_bytes()
    (tmp_path / "talk.mkv").write_bytes(content[: len(content) * 6 // 10])
    cut, refused = cut_spans(spans_of(tmp_path / "talk.mkv", (500, 3900)), tmp_path / "cut", Execution("serial"))
    assert cut.empty
    assert "the file was cut short" in refused["message"].iloc[0]


def test_cues_of_a_clip_with_a_long_name_are_cut(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / (80 * "\u3042" + ".mp4"), seconds=1.0)
    spans = spans_of(clip, (0, 400), (0, 400))
    cut, refused = cut_spans(spans, tmp_path / "cut", Execution("serial"))
    assert refused.empty
    files = [Path(clip) for clip in cut["clip"]]
    assert len(set(files)) == 2
    assert all(file.is_file() and file.parent == tmp_path / "cut" / "more" for file in files)
    again, _ = cut_spans(spans, tmp_path / "cut", Execution("serial"))
    assert again["clip"].tolist() == cut["clip"].tolist()
