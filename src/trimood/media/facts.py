"""Facts about clips as they are kept, one JSON file for each content; reading them imports no torch."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import get_args, get_type_hints

from trimood.config.parameters import ClipProblem, Reader, Stereo
from trimood.disk import written_whole
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


def read_facts(folder: Path, content: str, reader: Reader, stereo: Stereo) -> ClipFacts | None:
    """The facts that are kept of a clip with this content; None if none are, or if the file is damaged."""
    try:
        return ClipFacts(**json.loads(_file(folder, content, reader, stereo).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def write_facts(folder: Path, facts: ClipFacts, content: str, reader: Reader, stereo: Stereo) -> None:
    """Keeps the facts. Raises DiskFull."""
    with written_whole(_file(folder, content, reader, stereo), outlasts_power=False) as beside:
        beside.write_text(json.dumps(asdict(facts)), encoding="utf-8")


def _file(folder: Path, content: str, reader: Reader, stereo: Stereo) -> Path:
    version = "-".join([f"v{FORMAT_VERSION}", *(word for word in (reader, stereo) if word not in ("pyav", "mean"))])
    return folder / version / content[:2] / f"{content}.json"
