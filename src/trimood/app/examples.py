"""A few clips of the corpus with their words, to be clicked."""

import logging
from dataclasses import dataclass
from pathlib import Path

from trimood.conversations.corpus_files import TEST_FILES, clip_folder, first_present
from trimood.conversations.ecf import AnnotationError, read_ecf
from trimood.conversations.table import labelled
from trimood.emotions import EMOTIONS

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Example:
    """An utterance of the official test file, which no training has seen."""

    clip: Path
    text: str
    emotion: str


def corpus_examples(corpus: Path) -> list[Example]:
    """The first utterance of each emotion whose clip is there, in class order; none where there is no such corpus."""
    path = first_present(corpus, TEST_FILES)
    if path is None:
        return []
    try:
        table = labelled(read_ecf(path, clip_folder(corpus, "test")))
    except AnnotationError as error:
        log.warning("no examples are offered: %s", error)
        return []
    found: dict[str, Example] = {}
    for row in table.itertuples():
        clip = corpus / str(row.clip)
        if row.emotion not in found and clip.is_file():
            found[str(row.emotion)] = Example(clip, str(row.text), str(row.emotion))
    return [found[emotion] for emotion in EMOTIONS if emotion in found]
