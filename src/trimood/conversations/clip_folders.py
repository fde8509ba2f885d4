"""Where the clip of each utterance lies: in ECF's own layout, or in MELD's through the map."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from trimood.conversations.ecf import AnnotationError
from trimood.conversations.meld import MELD_FOLDERS, MELD_MAP, read_meld_map


@dataclass(frozen=True)
class ClipOrigins:
    """Whose layout the clips of a table lie in, counted; `missing` are in neither, of which `unmapped` have no name
    in MELD."""

    ecf: int
    meld: dict[str, int]
    missing: int
    unmapped: int

    def __str__(self) -> str:
        meld = ", ".join(f"{count} of its {split}" for split, count in self.meld.items())
        return (
            f"clips: {self.ecf} in ECF's layout, {sum(self.meld.values())} in MELD's ({meld}), {self.missing} are not "
            f"there, of which {self.unmapped} have no partner in MELD"
        )


def point_to_meld(table: pd.DataFrame, corpus: Path, meld: Path) -> tuple[pd.DataFrame, ClipOrigins | None]:
    """The table with `clip` pointing to MELD's file wherever ECF's own is not there; nothing is copied.

    A path in `meld` is given relative to the corpus where it lies below it, else whole. The counts are None, and the
    table is unchanged, where `meld` has none of MELD's folders. Raises AnnotationError where it has them and no map
    lies beside them or in the corpus, or where `meld` is another folder than the corpus and has none.
    """
    folders = _meld_folders(meld)
    if not any(folder.is_dir() for folder in folders.values()):
        if meld != corpus:
            raise AnnotationError(_no_meld(meld))
        return table, None
    places = read_meld_map(_map(corpus, meld)).set_index("utterance").reindex(table["utterance"])
    in_meld = {split: _file_names(folder) for split, folder in folders.items()}
    in_ecf = {folder: _file_names(corpus / folder) for folder in {str(Path(clip).parent) for clip in table["clip"]}}
    clips, origins = [], []
    for clip, split, meld_clip in zip(table["clip"], places["meld_split"], places["meld_clip"], strict=True):
        own, mapped = Path(clip), not pd.isna(split)
        if own.name in in_ecf[str(own.parent)]:
            origins.append("ecf")
        elif mapped:
            own = _seen_from(corpus, folders[split] / Path(meld_clip).name)
            origins.append(split if own.name in in_meld[split] else "missing")
        else:
            origins.append("unmapped")
        clips.append(own.as_posix())
    counts = pd.Series(origins, dtype="str").value_counts()
    unmapped = int(counts.get("unmapped", 0))
    return table.assign(clip=pd.Series(clips, index=table.index, dtype="str")), ClipOrigins(
        ecf=int(counts.get("ecf", 0)),
        meld={split: int(counts.get(split, 0)) for split in MELD_FOLDERS},
        missing=int(counts.get("missing", 0)) + unmapped,
        unmapped=unmapped,
    )


def _meld_folders(meld: Path) -> dict[str, Path]:
    """MELD's folder of each split, directly in `meld` or up to two folders below, as its archives unpack."""
    found = {}
    for split, name in MELD_FOLDERS.items():
        direct = meld / name
        below = [] if direct.is_dir() else sorted(path for step in ("*", "*/*") for path in meld.glob(f"{step}/{name}"))
        if len(below) > 1:
            raise AnnotationError(
                f"{meld}: {name} is there {len(below)} times: {', '.join(str(p.relative_to(meld)) for p in below)}. "
                "Give the right one's folder with --params meld_dir=FOLDER."
            )
        found[split] = below[0] if below else direct
    return found


def _map(corpus: Path, meld: Path) -> Path:
    places = [folder / MELD_MAP for folder in dict.fromkeys((corpus, meld))]
    there = next((path for path in places if path.is_file()), None)
    if there is None:
        raise AnnotationError(
            f"{meld}: MELD's folders of clips are there, but nothing says which clip is which utterance; looked for "
            f"{' and '.join(map(str, places))}. ECF's publishers hand it out: put it beside the annotations."
        )
    return there


def _no_meld(meld: Path) -> str:
    found = ", ".join(sorted(path.name for path in meld.iterdir())[:10]) or "an empty folder"
    return (
        f"{meld} (meld_dir): none of MELD's folders {', '.join(MELD_FOLDERS.values())}; got {found}. Unpack MELD.Raw's "
        "archives there, or give the folder that has them."
    )


def _file_names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.is_file()} if folder.is_dir() else set()


def _seen_from(corpus: Path, path: Path) -> Path:
    return path.relative_to(corpus) if path.is_relative_to(corpus) else path.absolute()
