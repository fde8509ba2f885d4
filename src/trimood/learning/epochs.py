"""The folder of a training's epochs: each is whole and verified by digests, or is set aside."""

import hashlib
import json
import logging
import re
import shutil
from pathlib import Path

from trimood.disk import synchronise, written_whole

log = logging.getLogger(__name__)

WEIGHTS_FILE, BEST_FILE, DIGESTS_FILE = "trained.safetensors", "best.safetensors", "digests.json"
"""The weights of an epoch, those of the best epoch before it if it is not the best itself, and what the files are."""

KEPT = 2
"""Epochs that are kept, so that a damaged one costs one epoch only."""

_WRITING = "writing"
_NAME = re.compile(r"checkpoint-(\d+)")


def folder_for_writing(folder: Path, is_new: bool = True) -> Path:
    """Returns a new folder in which an epoch is written before `keep`, or the one that another process has made."""
    if is_new:
        shutil.rmtree(folder / _WRITING, ignore_errors=True)
        (folder / _WRITING).mkdir(parents=True)
    return folder / _WRITING


def keep(folder: Path, written: Path, is_best: bool) -> None:
    """Completes a written epoch and renames it into `folder`; removes all but the last two.

    Adds the best weights unless this epoch `is_best`, so that each epoch can be resumed and finished by itself. The
    digests are written last. All files are on the disk before the folder has its name.
    """
    earlier = _epochs(folder)
    if earlier and not is_best:
        shutil.copyfile(best_weights(earlier[-1]), written / BEST_FILE)
    files = sorted(path for path in written.rglob("*") if path.is_file())
    digests = {str(path.relative_to(written)): _digest(path) for path in files}
    for path in files:
        synchronise(path)
    about = {"training": folder.name, "epoch": written.name, "files": digests}
    with written_whole(written / DIGESTS_FILE) as beside:
        beside.write_text(json.dumps(about, indent=1), encoding="utf-8")
    shutil.rmtree(folder / written.name, ignore_errors=True)
    written.rename(folder / written.name)
    synchronise(folder)
    for epoch in _epochs(folder)[:-KEPT]:
        shutil.rmtree(epoch, ignore_errors=True)


def last_whole(folder: Path) -> Path | None:
    """Returns the newest epoch whose files all have their digests; sets damaged ones aside with a warning."""
    for epoch in reversed(_epochs(folder)):
        if not (problem := _problem(folder, epoch)):
            return epoch
        aside = epoch.with_name(f"{epoch.name}.damaged")
        shutil.rmtree(aside, ignore_errors=True)
        epoch.rename(aside)
        log.warning("%s is damaged (%s): it is set aside as %s, and not used", epoch, problem, aside.name)
    return None


def best_weights(epoch: Path) -> Path:
    """The file of the best weights up to this epoch."""
    return epoch / BEST_FILE if (epoch / BEST_FILE).is_file() else epoch / WEIGHTS_FILE


def _epochs(folder: Path) -> list[Path]:
    """The epochs in the folder, from the oldest."""
    found = {path: match for path in folder.glob("checkpoint-*") if (match := _NAME.fullmatch(path.name))}
    return sorted(found, key=lambda path: int(found[path][1]))


def _problem(folder: Path, epoch: Path) -> str | None:
    try:
        about = json.loads((epoch / DIGESTS_FILE).read_text(encoding="utf-8"))
        if (about["training"], about["epoch"]) != (folder.name, epoch.name):
            return f"it is {about['epoch']} of training {about['training']}"
        different = [name for name, digest in about["files"].items() if _digest(epoch / name) != digest]
    except (OSError, ValueError, KeyError, TypeError) as error:
        return str(error)
    return f"{', '.join(different)}: other content than was written" if different else None


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
