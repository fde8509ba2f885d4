"""The pre-training data of the towers: random faces and voices with captions, unrelated to any emotion."""

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass

import numpy as np
import torch
from torch import Tensor

from trimood.media.audio import log_mel, mel_image
from trimood.media.recipes import AudioRecipe
from trimood.media.video import fit_frame
from trimood.model.classifier import normalise_frames
from trimood.model.config import LanguageBindConfig, TextConfig, VisionConfig, config_as_json
from trimood.synthetic.corpus import SIZE_PIXELS
from trimood.synthetic.faces import Expression, draw_clip, random_expression, random_look
from trimood.synthetic.voices import Prosody, random_pitch_hz, random_prosody, speak
from trimood.synthetic.words import fill_in, templates

HIDDEN, MLP, LAYERS, HEADS, PROJECTION = 32, 64, 2, 4, 32
# CLIP's scale before training (github.com/openai/CLIP, model.py); the demo's training keeps it.
LOGIT_SCALE = math.log(1 / 0.07)

VIDEO = VisionConfig(
    HIDDEN, MLP, LAYERS, HEADS, image_size=48, patch_size=16, hidden_act="quick_gelu", add_time_attn=True, num_frames=8
)
# Mean and deviation of the log-mel are those of LanguageBind_Audio_FT.
AUDIO = VisionConfig(
    HIDDEN,
    MLP,
    LAYERS,
    HEADS,
    image_size=48,
    patch_size=16,
    hidden_act="gelu",
    num_mel_bins=32,
    target_length=128,
    audio_mean=-4.2677393,
    audio_std=4.5689974,
)

# For each field, the word for low values and the word for high values.
FACE_WORDS = {
    "brow_height": ("lowered", "raised"),
    "frown": ("slanting", "frowning"),
    "eye_openness": ("squinting", "staring"),
    "smile": ("drooping", "smiling"),
    "mouth_openness": ("closed", "gaping"),
    "restlessness": ("still", "moving"),
}
VOICE_WORDS = {
    "pitch": ("low", "high"),
    "loudness": ("quiet", "loud"),
    "pace": ("slow", "fast"),
    "tremble": ("steady", "trembling"),
    "breath": ("clear", "breathy"),
    "glide": ("falling", "rising"),
}
NOTICEABLE = 0.3  # in Expression's and Prosody's units; weaker values are not mentioned

THREADS = 2
VOICE_SECONDS = 1.3  # fills the audio tower's input: AUDIO.target_length steps of 10 ms


@dataclass(frozen=True)
class Scenes:
    """Training pairs: `pixels` as a vision tower takes them, [scene, 3, …], and a caption for each."""

    pixels: Tensor
    captions: list[str]


def languagebind_config(vision: VisionConfig, vocabulary_size: int) -> LanguageBindConfig:
    """The sizes of a checkpoint: this vision tower and a narrow text tower with CLIP's 77 positions."""
    text = TextConfig(vocabulary_size, HIDDEN, MLP, LAYERS, HEADS)
    return LanguageBindConfig(text, vision, PROJECTION, LOGIT_SCALE)


def config_json(config: LanguageBindConfig) -> dict[str, object]:
    """config.json with every key of upstream's configuration classes (languagebind 0.1.0), including unused ones."""
    content = config_as_json(config)
    shared = {"projection_dim": config.projection_dim, "initializer_range": 0.02, "initializer_factor": 1.0}
    lora = {"lora_r": 0, "lora_alpha": 16, "lora_dropout": 0.1}
    # The published files have the ids 0, 1 and 2, for which upstream also reads the text at the highest id.
    ids = {"bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2}
    text = {**content["text_config"], **shared, **ids, "model_type": "clip_text_model"}
    vision = {**content["vision_config"], **shared, **lora, "video_decode_backend": "decord"}
    return {
        **content,
        "architectures": [content["model_type"]],
        "initializer_factor": 1.0,
        "text_config": text,
        "vision_config": {**vision, "model_type": "clip_vision_model"},
    }


def describe(
    shown: Expression | Prosody, words: dict[str, tuple[str, str]], noun: str, rng: np.random.Generator
) -> str:
    """A caption such as "a smiling staring raised face": the noticeable fields, in random order, without meaning."""
    said = [words[name][int(value > 0)] for name, value in asdict(shown).items() if abs(value) > NOTICEABLE]
    return f"a {' '.join(said[place] for place in rng.permutation(len(said))) or 'usual'} {noun}"


def show_faces(count: int, seed: int) -> Scenes:
    """Faces with any expression, [scene, 3, frame, height, width], and their captions."""

    def show(number: int) -> tuple[Tensor, str]:
        rng = np.random.default_rng([seed, 3, number])
        expression = random_expression(rng)
        frames = draw_clip(expression, random_look(rng), VIDEO.num_frames, SIZE_PIXELS, rng)
        fitted = torch.stack([fit_frame(torch.from_numpy(frame), VIDEO.image_size) for frame in frames])
        return normalise_frames(fitted[None])[0], describe(expression, FACE_WORDS, "face", rng)

    return _perform(show, count)


def play_voices(count: int, seed: int) -> Scenes:
    """Voices in any tone, [scene, 3, mel, time], and their captions."""
    recipe = AudioRecipe(AUDIO.num_mel_bins, AUDIO.audio_sample_rate)

    def play(number: int) -> tuple[Tensor, str]:
        rng = np.random.default_rng([seed, 4, number])
        prosody = random_prosody(rng)
        sound = speak(prosody, random_pitch_hz(rng), VOICE_SECONDS, recipe.sample_rate_hz, rng)
        energies = log_mel(torch.from_numpy(sound), recipe)
        image = mel_image(energies, AUDIO.target_length, AUDIO.audio_mean, AUDIO.audio_std)
        return image, describe(prosody, VOICE_WORDS, "voice", rng)

    return _perform(play, count)


def collect_sentences(times: int, seed: int) -> list[str]:
    """Every template sentence `times` times, with random fillers, without speaker or emotion."""
    rng = np.random.default_rng([seed, 5])
    return [fill_in(template, rng) for _ in range(times) for template in templates()]


def _perform(scene: Callable[[int], tuple[Tensor, str]], count: int) -> Scenes:
    with ThreadPoolExecutor(THREADS) as pool:
        scenes = list(pool.map(scene, range(count)))
    return Scenes(torch.stack([pixels for pixels, _ in scenes]), [caption for _, caption in scenes])
