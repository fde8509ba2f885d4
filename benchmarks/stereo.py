"""Measures how much the first channel of stereo sound differs from the mean, which is what trimood hears by default.

    python benchmarks/stereo.py FOLDER [--checkpoint FOLDER]

Reads all clips below FOLDER. Those with several channels are compared as they are. Of mono clips, four stereo versions
are made in memory: the voice in the middle; twice as loud on the left; as loud on both sides, but 1 ms later on the
right; in the middle, with another clip's sound on the right alone, 10 dB below it. Prints the mean distance of log-mel
energies in standard deviations, those of the audio tower's configuration. With a checkpoint of the audio tower, prints
the cosine distance of embeddings too, and that of different clips to compare with.
"""

import argparse
import statistics
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from trimood.media.audio import log_mel, mel_image, read_waveform
from trimood.media.files import audio_track, open_media
from trimood.media.names import ENDINGS
from trimood.media.recipes import AudioRecipe
from trimood.model.checkpoints import read_strictly
from trimood.model.config import FULL_SIZE_AUDIO, read_config
from trimood.model.towers import LanguageBind

RATE_HZ = 16000
VERSIONS = {
    "voice in the middle": lambda voice, other: (voice, voice),
    "twice as loud on the left": lambda voice, other: (voice, voice / 2),
    "1 ms later on the right": lambda voice, other: (voice, torch.roll(voice, RATE_HZ // 1000)),
    "another sound on the right, -10 dB": lambda voice, other: (voice, voice + 10**-0.5 * other),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--checkpoint", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    clips = [path for path in sorted(arguments.folder.rglob("*")) if path.suffix.lower() in ENDINGS]
    channels = {path: channel_count(path) for path in clips}
    stereo, mono = ([path for path in clips if test(channels[path])] for test in (lambda n: n > 1, lambda n: n == 1))
    print(f"{len(clips)} clips: {len(stereo)} with several channels, {len(mono)} with one\n")
    compare = comparison(arguments.checkpoint)
    print("| | log-mel, standard deviations | embedding, cosine distance |\n|---|--:|--:|")
    if stereo:
        heard = [(read_waveform(path, RATE_HZ, "first"), read_waveform(path, RATE_HZ, "mean")) for path in stereo]
        print_row("clips as they are", [compare(*both) for both in heard])
    voices = [read_waveform(path, RATE_HZ) for path in mono]
    for name, version in VERSIONS.items():
        made = (
            [version(voice, fitted(other, voice)) for voice, other in pairwise([*voices, voices[0]])] if voices else []
        )
        print_row(name, [compare(left, (left + right) / 2) for left, right in made])
    print_row("different clips", [compare(one, fitted(other, one)) for one, other in pairwise(voices)])


def channel_count(path: Path) -> int:
    with open_media(path) as container:
        track = audio_track(container)
        return track.channels if track else 0


def fitted(other: Tensor, voice: Tensor) -> Tensor:
    """Another sound with the length and the power of a voice."""
    repeated = other.repeat(len(voice) // len(other) + 1)[: len(voice)]
    return repeated * (voice.square().mean() / repeated.square().mean().clamp(min=1e-12)).sqrt()


def comparison(checkpoint: Path | None) -> Callable[[Tensor, Tensor], tuple[float, float]]:
    """A function from two sounds to the distances of their log-mel energies and of their embeddings."""
    config = read_config(checkpoint) if checkpoint else FULL_SIZE_AUDIO
    vision, tower = config.vision, None
    if checkpoint:
        tower = LanguageBind(config, ["vision"]).eval()
        tower.load_state_dict(read_strictly(checkpoint, config), strict=False)

    @torch.inference_mode()
    def distances(one: Tensor, other: Tensor) -> tuple[float, float]:
        energies = [log_mel(sound, AudioRecipe(vision.num_mel_bins, RATE_HZ)) for sound in (one, other)]
        images = [mel_image(of, vision.target_length, vision.audio_mean, vision.audio_std)[None] for of in energies]
        apart = 2 * float((images[0] - images[1]).abs().mean())  # an image is divided by two standard deviations
        if tower is None:
            return apart, float("nan")
        alike = float(F.cosine_similarity(*(tower.embed_vision(image) for image in images)))
        return apart, max(0.0, 1 - alike)  # rounding may give slightly more than 1

    return distances


def print_row(name: str, found: list[tuple[float, float]]) -> None:
    if found:
        energies, embeddings = (statistics.mean(column) for column in zip(*found, strict=True))
        print(f"| {name} | {energies:.3f} | {'' if np.isnan(embeddings) else f'{embeddings:.4f}'} |")


if __name__ == "__main__":
    main()
