"""What the towers are pre-trained on: strangers' faces and voices, captioned, with no emotion behind them."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from trimood.media.audio import AudioRecipe, log_mel, mel_image
from trimood.media.video import fit_frame
from trimood.model.classifier import normalise_frames
from trimood.pipelines.demo.captions import describe_face, describe_voice
from trimood.pipelines.demo.clips import SIZE_PIXELS
from trimood.pipelines.demo.faces import draw_clip, random_expression, random_look
from trimood.pipelines.demo.sizes import AUDIO, VIDEO
from trimood.pipelines.demo.voices import random_pitch_hz, random_prosody, speak
from trimood.pipelines.demo.words import fill_in, templates

THREADS = 2
VOICE_SECONDS = 1.3  # just fills the audio tower's input, AUDIO.target_length steps of 10 ms


@dataclass(frozen=True)
class Scenes:
    """Pairs to learn from: `pixels` as a vision tower takes them, [scene, 3, …], and a caption for each."""

    pixels: Tensor
    captions: list[str]


def show_faces(count: int, seed: int) -> Scenes:
    """Faces with any expression, [scene, 3, frame, height, width], and what is seen of them."""

    def show(number: int) -> tuple[Tensor, str]:
        rng = np.random.default_rng([seed, 3, number])
        expression = random_expression(rng)
        frames = draw_clip(expression, random_look(rng), VIDEO.num_frames, SIZE_PIXELS, rng)
        fitted = torch.stack([fit_frame(torch.from_numpy(frame), VIDEO.image_size) for frame in frames])
        return normalise_frames(fitted[None])[0], describe_face(expression, rng)

    return _perform(show, count)


def play_voices(count: int, seed: int) -> Scenes:
    """Voices in any tone, [scene, 3, mel, time], and what is heard of them."""
    recipe = AudioRecipe(AUDIO.num_mel_bins, AUDIO.audio_sample_rate)

    def play(number: int) -> tuple[Tensor, str]:
        rng = np.random.default_rng([seed, 4, number])
        prosody = random_prosody(rng)
        sound = speak(prosody, random_pitch_hz(rng), VOICE_SECONDS, recipe.sample_rate_hz, rng)
        energies = log_mel(torch.from_numpy(sound), recipe)
        image = mel_image(energies, AUDIO.target_length, AUDIO.audio_mean, AUDIO.audio_std)
        return image, describe_voice(prosody, rng)

    return _perform(play, count)


def collect_sentences(times: int, seed: int) -> list[str]:
    """Every template of the demo's language `times` times, with random fillers: words without who says them, or why."""
    rng = np.random.default_rng([seed, 5])
    return [fill_in(template, rng) for _ in range(times) for template in templates()]


def _perform(scene: Callable[[int], tuple[Tensor, str]], count: int) -> Scenes:
    with ThreadPoolExecutor(THREADS) as pool:
        scenes = list(pool.map(scene, range(count)))
    return Scenes(torch.stack([pixels for pixels, _ in scenes]), [caption for _, caption in scenes])
