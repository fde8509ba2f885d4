"""Files of Kedro's own dataset classes: written whole, and protected while a command trains on them."""

import base64
import html
import inspect
from pathlib import Path

import pandas as pd
import pytest
import yaml
from kedro.io import DatasetError
from kedro_datasets._typing import HTMLPreview, ImagePreview
from matplotlib.figure import Figure

from support.demo_project import PROJECT
from support.lock_holder import lock_holder
from trimood.datasets import NewFolderDataset, PageDataset, PictureDataset, RawDataError, WholeFileDataset
from trimood.disk import InUse
from trimood.reports.drawings import Drawing

CONTENTS = {
    "pandas.ParquetDataset": pd.DataFrame({"text": ["Hi .", None], "label": pd.Series([1, None], dtype="Int8")}),
    "pandas.CSVDataset": pd.DataFrame({"macro_f1": [0.5, 1.0]}),
    "json.JSONDataset": {"macro_f1": 0.5},
    "text.TextDataset": "# Scores",
}


@pytest.mark.parametrize("of", CONTENTS)
def test_a_file_of_another_class_is_written_whole_or_not_at_all(tmp_path: Path, of: str) -> None:
    arguments = {"save_args": {"index": False}} if "CSV" in of else {}
    dataset = WholeFileDataset(filepath=str(tmp_path / "a" / "file"), of=of, **arguments)
    assert not dataset.exists()
    dataset.save(CONTENTS[of])
    found = dataset.load()
    if isinstance(found, pd.DataFrame):
        pd.testing.assert_frame_equal(found, CONTENTS[of])
    else:
        assert found == CONTENTS[of]
    before = (tmp_path / "a" / "file").read_bytes()
    with pytest.raises(DatasetError):
        dataset.save({"not": object()} if "JSON" in of else object())
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["file"]
    assert (tmp_path / "a" / "file").read_bytes() == before


def test_a_picture_is_written_whole_and_kedro_viz_can_show_it(tmp_path: Path) -> None:
    dataset = PictureDataset(filepath=str(tmp_path / "a.png"))
    dataset.save(Figure())
    written = (tmp_path / "a.png").read_bytes()
    assert written.startswith(b"\x89PNG")
    assert inspect.signature(dataset.preview).return_annotation is ImagePreview
    assert base64.b64decode(dataset.preview()) == written
    with pytest.raises(DatasetError):
        dataset.save(object())  # type: ignore[arg-type]
    assert (tmp_path / "a.png").read_bytes() == written
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_a_page_is_stored_whole_and_kedro_viz_reads_no_markdown_in_it(tmp_path: Path) -> None:
    dataset = PageDataset(filepath=str(tmp_path / "a.html"))
    page = "<!DOCTYPE html><p class='a_b'>exp4_head, exp5_head, 2 * 3 * 4</p>"
    dataset.save(page)
    assert dataset.load() == (tmp_path / "a.html").read_text() == page
    assert inspect.signature(dataset.preview).return_annotation is HTMLPreview
    shown = dataset.preview()
    assert not {"_", "*"} & set(shown)
    assert html.unescape(shown) == page
    assert [path.name for path in tmp_path.iterdir()] == ["a.html"]


def test_a_picture_is_drawn_again_only_if_what_it_shows_has_changed(tmp_path: Path) -> None:
    drawn: list[str] = []

    def drawing(word: str) -> Drawing:
        def draw() -> Figure:
            drawn.append(word)
            return Figure()

        return Drawing(draw, pd.DataFrame({"word": [word]}))

    dataset = PictureDataset(filepath=str(tmp_path / "a.png"))
    for word in ("one", "one", "two", "two", "one"):
        dataset.save(drawing(word))
    assert drawn == ["one", "two", "one"]
    (tmp_path / "a.png").write_bytes((tmp_path / "a.png").read_bytes()[:20])
    dataset.save(drawing("one"))
    assert drawn == ["one", "two", "one", "one"]


def test_a_class_that_is_not_there_is_named_when_the_catalog_is_made(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"ParketDataset. not found in .pandas"):
        WholeFileDataset(filepath=str(tmp_path / "a"), of="pandas.ParketDataset")


def test_every_file_of_the_catalog_is_written_whole() -> None:
    entries = {
        name: entry
        for file in (PROJECT / "conf").rglob("catalog.yml")
        for name, entry in (yaml.safe_load(file.read_text()) or {}).items()
        if isinstance(entry, dict) and "type" in entry
    }
    assert len(entries) > 60
    # Those of MLflow write nothing. The two others write a folder of pictures, which can be drawn again.
    own = ("trimood.datasets.", "trimood.tracked_datasets.", "MemoryDataset")
    others = {name for name, entry in entries.items() if not entry.get("dataset", entry)["type"].startswith(own)}
    assert others == {"comparison_pictures", "comparison_drawings"}


def test_the_tables_of_a_submission_may_change_while_an_experiment_is_trained() -> None:
    entries = yaml.safe_load((PROJECT / "conf/base/submission/catalog.yml").read_text())
    for name in ("submission_utterances", "excluded_submission_clips", "submission_examples"):
        assert "trained_in" not in entries[name]


@pytest.mark.parametrize(("lock", "name"), [("exp3/.lock", "exp3"), (".search-exp4.lock", "search-exp4")])
def test_a_table_is_not_replaced_by_another_while_a_command_trains_on_it(tmp_path: Path, lock: str, name: str) -> None:
    models = tmp_path / "06_models"
    path = tmp_path / "05_model_input" / "training_examples.parquet"
    dataset = WholeFileDataset(filepath=str(path), of="pandas.ParquetDataset", trained_in=str(models))
    table, other = pd.DataFrame({"utterance": ["a", "b"]}), pd.DataFrame({"utterance": ["b", "a"]})
    dataset.save(table)
    with lock_holder(models / lock) as other_command:
        dataset.save(other)  # the other command has not begun to train
        other_command.train()
        before = path.stat().st_ino
        dataset.save(other)
        assert path.stat().st_ino == before
        with pytest.raises(
            DatasetError, match=rf"{name} is trained on this table by `kedro run .*data_root=FOLDER"
        ) as error:
            dataset.save(table)
        assert isinstance(error.value.__cause__, InUse)
        pd.testing.assert_frame_equal(dataset.load(), other)
        assert [file.name for file in path.parent.iterdir()] == [path.name]
        path.unlink()
        dataset.save(table)  # where there was none, nobody trains on it


def test_a_new_folder_is_filled_whole_and_one_with_files_is_left_as_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "exported"
    dataset = NewFolderDataset(filepath=str(folder))

    def fill(target: Path) -> None:
        (target / "README.md").write_text("the card")

    def fail(target: Path) -> None:
        fill(target)
        raise ValueError("halfway")

    folder.mkdir(parents=True)
    with pytest.raises(DatasetError, match="halfway"):
        dataset.save(fail)
    assert list(folder.parent.iterdir()) == [folder]
    dataset.save(fill)
    assert [path.name for path in folder.iterdir()] == ["README.md"]
    for refused in (dataset.check_generated, lambda: dataset.save(fill)):
        with pytest.raises(RawDataError, match=r"exported: there are files already.*--params to=FOLDER"):
            refused()
    with pytest.raises(RawDataError, match="there are files already"):
        NewFolderDataset(filepath=str(folder / "README.md")).check_generated()
