"""Drawn faces: expression, look, and frames."""

from dataclasses import astuple, dataclass, fields

import numpy as np
from PIL import Image, ImageDraw

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Expression:
    """A facial expression; each field lies between -1 and 1, and 0 is at rest."""

    brow_height: float = 0.0
    frown: float = 0.0  # 1: inner ends of the brows down, -1: up
    eye_openness: float = 0.0
    smile: float = 0.0
    mouth_openness: float = 0.0
    restlessness: float = 0.0  # how much the head moves

    def scaled(self, share: float) -> "Expression":
        """The same expression, weaker."""
        return Expression(*(value * share for value in astuple(self)))


@dataclass(frozen=True)
class Look:
    """A speaker's look; colours are RGB, head_width is a share of the picture."""

    skin: Colour
    hair: Colour
    background: Colour
    head_width: float
    hair_length: float


def random_look(rng: np.random.Generator) -> Look:
    """A random look."""
    skin = [(244, 208, 177), (224, 172, 130), (170, 115, 80), (110, 72, 50)][rng.integers(4)]
    hair = [(40, 28, 22), (110, 70, 35), (205, 165, 90), (150, 60, 35), (120, 120, 125)][rng.integers(5)]
    red, green, blue = rng.integers(50, 200, size=3).tolist()
    return Look(skin, hair, (red, green, blue), rng.uniform(0.30, 0.38), rng.uniform(0, 1))


def random_expression(rng: np.random.Generator) -> Expression:
    """A random expression, including ones that fit no emotion."""
    return Expression(*rng.uniform(-1, 1, size=len(fields(Expression))).tolist())


def draw_clip(
    expression: Expression, look: Look, frame_count: int, size_pixels: int, rng: np.random.Generator
) -> np.ndarray:
    """A talking face, [frame, size, size, 3] uint8: the expression grows during the first third and then stays."""
    camera = rng.normal(0, 0.015, size=2)
    rhythm, phase = rng.uniform(2.0, 4.0), rng.uniform(0, 2 * np.pi)
    frames = np.empty((frame_count, size_pixels, size_pixels, 3), dtype=np.uint8)
    for number in range(frame_count):
        progress = number / max(frame_count - 1, 1)
        sway = 0.015 + 0.015 * expression.restlessness
        shift = camera + sway * np.array([np.sin(9 * progress + phase), 0.6 * np.cos(13 * progress + phase)])
        talking = 0.15 * np.sin(2 * np.pi * rhythm * progress + phase)
        shown = expression.scaled(min(1.0, 0.5 + 2.5 * progress))
        frames[number] = np.asarray(_draw_face(shown, look, shift, talking, size_pixels))
    grain = 4 * rng.standard_normal((frame_count, size_pixels, size_pixels, 1), dtype=np.float32)
    light = np.float32(rng.uniform(-25, 25))
    return np.clip(frames + (grain + light), 0, 255).astype(np.uint8)


def _draw_face(expression: Expression, look: Look, shift: np.ndarray, talking: float, size: int) -> Image.Image:
    picture = Image.new("RGB", (size, size), look.background)
    draw = ImageDraw.Draw(picture)
    x, y = size * (0.5 + shift[0]), size * (0.52 + shift[1])
    width, height = size * look.head_width, size * 0.42
    long_hair = height * (0.2 + 0.7 * look.hair_length)
    draw.ellipse((x - 1.12 * width, y - 1.15 * height, x + 1.12 * width, y + long_hair), fill=look.hair)
    draw.ellipse((x - width, y - 0.92 * height, x + width, y + height), fill=look.skin)
    draw.line((x, y - 0.05 * height, x - 0.03 * size, y + 0.18 * height), fill=look.hair, width=max(1, size // 48))
    for side in (-1, 1):
        _draw_eye(draw, expression, look, x=x + side * 0.45 * width, y=y - 0.2 * height, side=side, size=size)
    _draw_mouth(draw, expression, talking, x=x, y=y + 0.55 * height, half_width=0.55 * width, size=size)
    return picture


def _draw_eye(
    draw: ImageDraw.ImageDraw, expression: Expression, look: Look, *, x: float, y: float, side: int, size: int
) -> None:
    half_width, half_height = 0.08 * size, size * (0.05 + 0.035 * expression.eye_openness)
    draw.ellipse((x - half_width, y - half_height, x + half_width, y + half_height), fill=(250, 250, 250))
    pupil = min(0.025 * size, half_height)
    draw.ellipse((x - pupil, y - pupil, x + pupil, y + pupil), fill=(25, 25, 40))
    brow = y - size * (0.13 + 0.05 * expression.brow_height)
    inner, outer = brow + 0.05 * size * expression.frown, brow - 0.04 * size * expression.frown
    ends = (x - side * 0.08 * size, inner, x + side * 0.09 * size, outer)
    draw.line(ends, fill=tuple(channel // 2 for channel in look.hair), width=max(2, size // 20))


def _draw_mouth(
    draw: ImageDraw.ImageDraw,
    expression: Expression,
    talking: float,
    *,
    x: float,
    y: float,
    half_width: float,
    size: int,
) -> None:
    opening = size * max(0.008, 0.055 + 0.055 * expression.mouth_openness + 0.06 * talking)
    across = np.linspace(-1, 1, 9)
    arc = -0.09 * size * expression.smile * (across**2 - 0.5)
    upper = [(x + half_width * a, y + bend - opening * (1 - a * a) * 0.5) for a, bend in zip(across, arc, strict=True)]
    lower = [(x + half_width * a, y + bend + opening * (1 - a * a)) for a, bend in zip(across, arc, strict=True)]
    draw.polygon([*upper, *reversed(lower)], fill=(95, 20, 30))
    draw.line([*upper], fill=(160, 60, 65), width=max(1, size // 48))
