"""Contrastive pre-training of the small towers as in LanguageBind, on pictures and sounds with captions."""

import math
from collections.abc import Callable, Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trimood.model.towers import LanguageBind
from trimood.synthetic.scenes import AUDIO, LOGIT_SCALE, VIDEO, Scenes, languagebind_config

EPOCHS = 8
BATCH = 32
LEARNING_RATE = 4e-3
DROPPED_WORDS = 0.25  # share of the words of a sentence

Tokenize = Callable[[list[str]], Tensor]
"""Texts to ids, [text, token] int64."""


def pretrain(
    faces: Scenes, voices: Scenes, sentences: list[str], tokenize: Tokenize, vocabulary_size: int, seed: int
) -> tuple[LanguageBind, LanguageBind]:
    """The video and the audio model, which share one text tower as in LanguageBind.

    Each sentence is matched with itself, with different words dropped, so that the text tower learns words but no
    emotions (Gao et al. 2021, https://arxiv.org/abs/2104.08821, which drops units instead of words).
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        video = LanguageBind(languagebind_config(VIDEO, vocabulary_size))
        audio = LanguageBind(languagebind_config(AUDIO, vocabulary_size))
    audio.text_model, audio.text_projection = video.text_model, video.text_projection
    both = nn.ModuleList([video, audio])
    steps = EPOCHS * (len(faces.captions) // BATCH)
    optimiser = torch.optim.AdamW(both.parameters(), LEARNING_RATE, weight_decay=0.05, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, LEARNING_RATE, total_steps=steps, pct_start=0.1)
    rng = np.random.default_rng([seed, 6])
    batches = zip(*(_draw(len(texts), rng) for texts in (faces.captions, voices.captions, sentences)), strict=False)
    for _, (seen, heard, said) in zip(range(steps), batches, strict=False):
        texts = [_drop_words(sentences[place], rng) for _ in range(2) for place in said]
        captions = [faces.captions[place] for place in seen] + [voices.captions[place] for place in heard]
        of_faces, of_voices, once, again = video.embed_text(tokenize([*captions, *texts])).chunk(4)
        loss = (
            contrastive_loss(video.embed_vision(faces.pixels[seen]), of_faces)
            + contrastive_loss(audio.embed_vision(voices.pixels[heard]), of_voices)
            + contrastive_loss(once, again)
        )
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(both.parameters(), 1.0)
        optimiser.step()
        schedule.step()
    return video.eval(), audio.eval()


def contrastive_loss(one: Tensor, other: Tensor) -> Tensor:
    """CLIP's loss: cross entropy of matching the pairs of a batch, in both directions; [pair, channel] each."""
    scores = math.exp(LOGIT_SCALE) * F.normalize(one, dim=-1) @ F.normalize(other, dim=-1).T
    own = torch.arange(len(scores))
    return (F.cross_entropy(scores, own) + F.cross_entropy(scores.T, own)) / 2


def _draw(count: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Endless batches; no item repeats before all others were drawn."""
    while True:
        order = rng.permutation(count)
        yield from order[: count // BATCH * BATCH].reshape(-1, BATCH)


def _drop_words(sentence: str, rng: np.random.Generator) -> str:
    words = sentence.split()
    kept = rng.random(len(words)) >= DROPPED_WORDS
    kept[int(rng.integers(len(words)))] = True
    return " ".join(word for word, keep in zip(words, kept, strict=True) if keep)
