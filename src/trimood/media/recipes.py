"""How clips become tensors: everything that determines a prepared clip, apart from the clip itself.

Importing this module imports no torch, because every run reads the recipe, and most find all clips prepared.
"""

import hashlib
import json
from dataclasses import asdict, dataclass, field
from functools import cache

from trimood.config.parameters import Reader, Stereo

FORMAT_VERSION = 3
"""Increase it whenever the same recipe gives different values, so that older parts are not reused."""

WINDOW_MS = 25
SHIFT_MS = 10

ASSUMED_SECONDS = 10
"""Length of sound assumed for estimates of disk space; utterances of ECF last about 3 s on average."""


@dataclass(frozen=True)
class VideoRecipe:
    """The number of frames taken from a clip, the side of the square frames, and the library that reads them."""

    frame_count: int = 8
    frame_size_pixels: int = 224
    reader: Reader = "pyav"


@dataclass(frozen=True)
class AudioRecipe:
    """How a clip's sound becomes log-mel energies, of windows of WINDOW_MS that start every SHIFT_MS."""

    mel_bins: int = 112
    sample_rate_hz: int = 16000
    stereo: Stereo = "mean"


@dataclass(frozen=True)
class Recipe:
    """All settings that determine the content of a part, apart from the clip itself."""

    video: VideoRecipe = field(default_factory=VideoRecipe)
    audio: AudioRecipe = field(default_factory=AudioRecipe)


@cache
def recipe_name(recipe: Recipe) -> str:
    """The folder of a recipe's parts: 16 hexadecimal digits that change with any of its values."""
    values = {"format": FORMAT_VERSION, **asdict(recipe)}
    # These two defaults are not part of the name: parts that are older than the parameters stay valid.
    if recipe.video.reader == "pyav":
        del values["video"]["reader"]
    if recipe.audio.stereo == "mean":
        del values["audio"]["stereo"]
    canonical = json.dumps(values, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(canonical.encode(), digest_size=8).hexdigest()


def part_bytes(recipe: Recipe) -> int:
    """The approximate size of one part in bytes."""
    frames = recipe.video.frame_count * 3 * recipe.video.frame_size_pixels**2
    return frames + 4 * recipe.audio.mel_bins * ASSUMED_SECONDS * 1000 // SHIFT_MS
