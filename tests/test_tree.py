"""The tests mirror the package: who looks for the tests of a module finds them under its name."""

from pathlib import Path

import pytest

TESTS = Path(__file__).parent
SOURCES = TESTS.parent / "src" / "trimood"

OF_NO_ROOM = {"docs", "support"}
"""Folders for the documentation, and for what tests share."""

OF_NO_MODULE = {
    "test_extras.py",
    "test_makefile.py",
    "test_notebooks.py",
    "test_open_when_ready.py",
    "test_scripts.py",
    "test_tree.py",
}
"""Tests of what lies beside the package."""


def module_of(test_file: Path) -> str | None:
    """The module that `test_<module>.py` or `test_<module>_<aspect>.py` names, the longest that exists in its room."""
    words = test_file.stem.removeprefix("test_").split("_")
    room = SOURCES / test_file.relative_to(TESTS).parent
    modules = ("_".join(words[:count]) for count in range(len(words), 0, -1))
    return next((module for module in modules if (room / f"{module}.py").is_file()), None)


def test_every_test_file_lies_in_the_room_of_a_module_and_bears_its_name() -> None:
    files = [path for path in sorted(TESTS.rglob("test_*.py")) if path.relative_to(TESTS).parts[0] not in OF_NO_ROOM]
    assert len(files) > 70
    strangers = [str(path.relative_to(TESTS)) for path in files if module_of(path) is None]
    assert {name for name in strangers if name not in OF_NO_MODULE} == set()


def test_every_folder_with_python_files_is_a_room() -> None:
    folders = {path.parent.relative_to(TESTS) for path in TESTS.rglob("*.py")}
    rooms = {folder for folder in folders if not folder.parts or folder.parts[0] not in OF_NO_ROOM}
    assert len(rooms) > 15
    assert {str(room) for room in rooms if not (SOURCES / room / "__init__.py").is_file()} == set()


@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("media/test_cache.py", "cache"),
        ("media/test_cache_elsewhere.py", "cache"),
        ("media/test_on_ray.py", "on_ray"),
        ("corpus/test_corpus_files_spans.py", "corpus_files"),
        ("media/test_cachet.py", None),
        ("model/test_cache.py", None),
        ("pipelines/nowhere/test_nodes.py", None),
    ],
)
def test_a_name_belongs_to_the_longest_module_that_it_begins_with(name: str, module: str | None) -> None:
    assert module_of(TESTS / name) == module
