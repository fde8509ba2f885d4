"""Facts about clips as they are kept, a line of JSON for each content; reading them imports no torch."""

import json
import uuid
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import get_args, get_type_hints

from trimood.config.parameters import ClipProblem, Reader, Stereo
from trimood.disk import DiskFull, says_disk_full
from trimood.media.errors import ClipError

FORMAT_VERSION = 3
"""Increase it whenever the same file gives different facts, so that older facts are not reused."""


@dataclass(frozen=True)
class ClipFacts:
    """Facts about a clip; None if unknown.

    Problems refer to the model's input: eight frames, and the whole sound at 16 kHz. Levels are those of the mono sound
    in dB of full scale; `loudness_dbfs` is the root mean square.
    """

    content: str | None = None
    size_bytes: int | None = None
    container: str | None = None
    video_problem: ClipProblem | None = None
    video_detail: str | None = None
    video_codec: str | None = None
    frame_count: int | None = None
    video_seconds: float | None = None
    frames_per_second: float | None = None
    variable_frame_rate: bool | None = None
    width: int | None = None
    height: int | None = None
    rotation_degrees: int | None = None
    audio_problem: ClipProblem | None = None
    audio_detail: str | None = None
    audio_codec: str | None = None
    audio_seconds: float | None = None
    sample_rate_hz: int | None = None
    channels: int | None = None
    peak_dbfs: float | None = None
    loudness_dbfs: float | None = None


_PANDAS_TYPES = {str: "str", int: "Int64", float: "float64", bool: "boolean"}

FACT_COLUMNS = {
    name: _PANDAS_TYPES.get(get_args(hint)[0], "str")  # a Literal is a str
    for name, hint in get_type_hints(ClipFacts).items()
}
"""The columns of facts in a table, with their pandas types."""


def failed(error: ClipError) -> ClipFacts:
    """The facts of a clip that is missing, timed out or crashed: only its problem."""
    return ClipFacts(
        video_problem=error.problem, video_detail=error.detail, audio_problem=error.problem, audio_detail=error.detail
    )


def read_facts(folder: Path, reader: Reader, stereo: Stereo) -> dict[str, ClipFacts]:
    """All facts that are kept, by content. A line that is not whole is passed over, so its clip is examined anew."""
    kept: dict[str, ClipFacts] = {}
    for file in sorted(_folder(folder, reader, stereo).glob("*.jsonl")):
        with suppress(OSError):
            for line in file.read_bytes().splitlines():
                with suppress(ValueError, TypeError):
                    facts = ClipFacts(**json.loads(line))
                    if facts.content is not None:
                        kept[facts.content] = facts
    return kept


def own_file(folder: Path, reader: Reader, stereo: Stereo) -> Path:
    """A new file for `append_facts`: each command has its own, so two at the same time do not disturb each other."""
    return _folder(folder, reader, stereo) / f"{uuid.uuid4().hex}.jsonl"


def append_facts(file: Path, facts: ClipFacts) -> None:
    """Keeps the facts of a content in a file that no other command writes. Raises DiskFull.

    A command that is killed loses at most the line that it was writing.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("ab") as lines:
            lines.write(json.dumps(asdict(facts)).encode() + b"\n")
    except OSError as error:
        if says_disk_full(error):
            raise DiskFull(file) from error
        raise


def _folder(folder: Path, reader: Reader, stereo: Stereo) -> Path:
    return folder / "-".join(
        [f"v{FORMAT_VERSION}", *(word for word in (reader, stereo) if word not in ("pyav", "mean"))]
    )
