"""What lies in a corpus folder: which annotation files, which of them are used, and where the clips are."""

import hashlib
from pathlib import Path
from typing import Any

import pandas as pd

TRAIN_FILES = ("Subtask_2_train.json", "Subtask_1_train.json")
TEST_FILES = ("Subtask_2_test.json", "Subtask_1_test.json", "Subtask_2_test_eval_release_unlabelled.json")
"""The first found is used. Subtask 1 and 2 have the same utterances; the unlabelled evaluation release comes last."""


def first_present(corpus: Path, names: tuple[str, ...]) -> Path | None:
    """The first of the named files that the corpus folder holds."""
    return next((corpus / name for name in names if (corpus / name).is_file()), None)


def clip_folder(corpus: Path, split: str) -> str:
    """The split's own folder of clips where there is one; "" where the clips lie beside the annotation file."""
    return split if (corpus / split).is_dir() else ""


def no_train_file(corpus: Path) -> str:
    """What to say where there is none of TRAIN_FILES."""
    if not corpus.is_dir():
        found = "there is no such folder"
    else:
        found = "got " + (", ".join(sorted(path.name for path in corpus.iterdir())[:10]) or "an empty folder")
        below = sorted(path for name in TRAIN_FILES for path in corpus.glob(f"*/{name}"))
        found += f" (but {below[0].relative_to(corpus)} is there: is that folder the corpus?)" if below else ""
    return (
        f"{corpus}: no train file; {found}. Needed is {' or '.join(TRAIN_FILES)}, "
        "with the clips in train/ or beside it. Put it there, or point "
        "the catalog's `corpus` to the folder that has it."
    )


def file_facts(path: Path | None, table: pd.DataFrame) -> dict[str, Any]:
    """A file's name, generation and fingerprint, and how much its table holds; None where there is no file."""
    return {
        "file": path.name if path else None,
        "generation": path.stem.replace("_train", "").replace("_test", "") if path else None,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest()[:12] if path else None,
        "conversations": int(table["conversation_id"].nunique()),
        "utterances": len(table),
        "labelled_utterances": int(table["label"].notna().sum()),
    }
