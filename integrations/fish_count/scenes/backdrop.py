"""The scene behind the fish: light, rays, a floor of sand or rock, plants, bubbles, drifting particles."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

Colour = tuple[int, int, int]
Point = tuple[float, float]

# Colours of the water at the surface and in the deep, as float RGB.
WATERS = (
    ((96, 200, 214), (10, 74, 120)),  # coral reef
    ((70, 150, 214), (8, 34, 92)),  # open sea
    ((120, 190, 160), (18, 66, 62)),  # lake
    ((150, 176, 120), (44, 60, 36)),  # pond
    ((88, 176, 196), (14, 52, 70)),  # cold coast
    ((110, 120, 180), (26, 22, 62)),  # dusk
)
SANDS = ((206, 190, 150), (180, 168, 140), (150, 138, 112), (196, 176, 160))
ROCKS = ((92, 92, 100), (84, 76, 66), (66, 82, 84), (104, 84, 86))
CORALS = ((214, 96, 90), (226, 150, 84), (190, 96, 150), (216, 190, 150))
PLANTS = ((42, 116, 62), (70, 132, 50), (30, 96, 84), (120, 84, 44), (130, 56, 74))


def draw_backdrop(size: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw the scene without fish.

    Returns float32 arrays of 0 to 255: the image, size x size x 3, and the colour of the water at each height, for the
    haze in front of distant fish, size x 3.
    """
    top, deep = (np.asarray(colour, np.float32) for colour in WATERS[rng.integers(len(WATERS))])
    light = rng.uniform(0.8, 1.1)
    fall = np.linspace(0, 1, size, dtype=np.float32)[:, None] ** rng.uniform(0.6, 1.3)
    water = (top + (deep - top) * fall) * light + rng.normal(0, 6, 3).astype(np.float32)
    pixels = water[:, None, :] + _clouds(size, (5, 5), 11, rng)
    pixels += _rays(size, rng)
    horizon = None
    if rng.random() < 0.7:
        horizon = _add_floor(pixels, water, rng)
    image = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
    layer = Image.new("RGBA", (2 * size, 2 * size))  # twice the size, for smooth edges
    if horizon is not None:
        _add_rocks(layer, water, horizon, rng)
    _add_growth(layer, water, rng)
    layer = layer.reduce(2)
    image.paste(layer, mask=layer)
    _add_bubbles(image, rng)
    return np.asarray(image, np.float32), water


def _clouds(size: int, cells: tuple[int, int], strength: float, rng: np.random.Generator) -> np.ndarray:
    """Draw smooth noise, size x size x 1, mean 0."""
    coarse = Image.fromarray(rng.normal(0, strength, cells).astype(np.float32))
    return np.asarray(coarse.resize((size, size), Image.Resampling.BICUBIC))[..., None]


def _rays(size: int, rng: np.random.Generator) -> np.ndarray:
    """Draw beams from a point above the surface, fading downwards: size x size x 1."""
    small = 64  # soft light needs no detail
    image = Image.new("L", (small, small))
    draw = ImageDraw.Draw(image)
    source = rng.uniform(-0.3, 1.3) * small
    for _ in range(rng.integers(0, 7)):
        foot, width = rng.uniform(-0.5, 1.5) * small, rng.uniform(2, 8)
        beam = [(source - 1, -0.4 * small), (source + 1, -0.4 * small), (foot + width, small), (foot - width, small)]
        draw.polygon(beam, fill=int(rng.integers(25, 70)))
    soft = image.filter(ImageFilter.GaussianBlur(1.5)).resize((size, size), Image.Resampling.BILINEAR)
    return np.asarray(soft, np.float32)[..., None] * np.linspace(1, 0, size, dtype=np.float32)[:, None, None]


def _add_floor(pixels: np.ndarray, water: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw rippled sand over the lower part of the image and return the row at which it begins in each column."""
    size = len(pixels)
    along = np.linspace(0, 2 * np.pi, size)
    swell = np.sin(np.outer((1, 2.3, 5.1), along) + rng.uniform(0, 6, (3, 1)))
    waves = rng.uniform(0, (0.03, 0.015, 0.005))[:, None] * swell
    horizon = (rng.uniform(0.72, 0.95) + waves.sum(axis=0)) * size
    sand = np.asarray(SANDS[rng.integers(len(SANDS))], np.float32)
    lit = 0.45 * sand + 0.55 * sand * water.mean(axis=0) / 130  # water tints what is below it
    first = max(0, int(horizon.min()))
    rows = np.arange(first, size)[:, None]
    under = np.clip(rows - horizon, 0, 1)[..., None].astype(np.float32)
    near = np.clip((rows - horizon) / (0.25 * size), 0, 1)[..., None].astype(np.float32)
    ripples = _clouds(size, (40, 9), 10, rng)[first:] + rng.normal(0, 5, (size - first, size, 1)).astype(np.float32)
    floor = (0.5 + 0.4 * near) * lit + (0.5 - 0.4 * near) * water[first:, None, :] + ripples
    pixels[first:] += (floor - pixels[first:]) * under
    return horizon


def _add_rocks(layer: Image.Image, water: np.ndarray, horizon: np.ndarray, rng: np.random.Generator) -> None:
    size, draw = layer.width, ImageDraw.Draw(layer)
    for _ in range(rng.integers(0, 6)):
        x, width = rng.uniform(0, size), rng.uniform(0.04, 0.18) * size
        base = 2 * float(horizon[min(len(horizon) - 1, int(x / 2))]) + rng.uniform(0.01, 0.06) * size
        colour = _under_water(ROCKS[rng.integers(len(ROCKS))], water, base / 2, rng.uniform(0.2, 0.5))
        _stone(draw, (x, base), width, colour, rng)


def _stone(draw: ImageDraw.ImageDraw, foot: Point, width: float, colour: Colour, rng: np.random.Generator) -> None:
    """Draw a boulder: ever smaller and lighter outlines towards the light from above."""
    angles = np.linspace(0, 2 * np.pi, 28)
    rough = 1 + rng.normal(0, 0.05, 28) + 0.12 * np.sin(3 * angles + rng.uniform(0, 6))
    height = width * rng.uniform(0.4, 0.85)
    for scale in np.linspace(1.0, 0.2, 9):
        rise = 0.55 * (1 - scale) * height
        flat = np.where(np.sin(angles) > 0, 0.25, 1.0)  # the foot is sunk into the sand
        xs = foot[0] + scale * width * np.cos(angles) * rough
        ys = foot[1] - rise + scale * height * np.sin(angles) * rough * flat
        draw.polygon(list(zip(xs.tolist(), ys.tolist(), strict=True)), fill=_lit(colour, 1.2 - 0.45 * scale))


def _add_growth(layer: Image.Image, water: np.ndarray, rng: np.random.Generator) -> None:
    """Draw tufts of swaying blades, and corals, along the lower edge."""
    size, draw = layer.width, ImageDraw.Draw(layer)
    for _ in range(max(0, int(rng.integers(-2, 6)))):
        foot, haze = rng.uniform(0, size), rng.uniform(0.2, 0.6)
        if rng.random() < 0.3:
            colour = _under_water(CORALS[rng.integers(len(CORALS))], water, 0.45 * size, haze)
            _coral(draw, (foot, rng.uniform(0.9, 1.0) * size), -np.pi / 2, rng.uniform(0.05, 0.08) * size, colour, rng)
            continue
        tall = rng.uniform(0.15, 0.55) * size
        colour = _under_water(PLANTS[rng.integers(len(PLANTS))], water, 0.45 * size, haze)
        for _ in range(rng.integers(3, 8)):
            blade = _blade(foot + 0.04 * size * rng.standard_normal(), size, tall * rng.uniform(0.5, 1.1), rng)
            draw.polygon(blade, fill=_lit(colour, rng.uniform(0.75, 1.2)))


def _coral(
    draw: ImageDraw.ImageDraw, foot: Point, angle: float, length: float, colour: Colour, rng: np.random.Generator
) -> None:
    """Draw a branch that forks until it is short."""
    tip = (foot[0] + length * np.cos(angle), foot[1] + length * np.sin(angle))
    half = 0.16 * length
    draw.line([foot, tip], fill=colour, width=max(2, round(2 * half)))
    draw.ellipse((tip[0] - half, tip[1] - half, tip[0] + half, tip[1] + half), fill=colour)
    if length < 0.02 * draw.im.size[0]:
        return
    for angle_step in rng.uniform(0.15, 0.65, 2) * (-1, 1):
        _coral(draw, tip, angle + angle_step, length * rng.uniform(0.65, 0.82), _lit(colour, 1.06), rng)


def _blade(foot: float, size: int, tall: float, rng: np.random.Generator) -> list[Point]:
    """Return the outline of a swaying blade."""
    up = np.linspace(0, 1, 9)
    sway, frequency, phase = rng.uniform(0.02, 0.07) * size, rng.uniform(3, 8), rng.uniform(0, 6)
    xs = foot + sway * up * np.sin(frequency * up + phase)
    ys = 1.02 * size - tall * up
    half = rng.uniform(0.006, 0.016) * size * np.sqrt(1 - 0.97 * up)
    left, right = zip(xs - half, ys, strict=True), zip(xs + half, ys, strict=True)
    return [(float(x), float(y)) for x, y in [*left, *list(right)[::-1]]]


def _add_bubbles(image: Image.Image, rng: np.random.Generator) -> None:
    """Draw a rising string of rings, and pale particles everywhere."""
    size, draw = image.width, ImageDraw.Draw(image, "RGBA")
    unit = size / 256
    for x, y in rng.uniform(0, size, (int(rng.integers(0, 40)), 2)):
        draw.ellipse((x, y, x + unit, y + unit), fill=(230, 240, 240, int(rng.integers(30, 110))))
    x, y = rng.uniform(0, size, 2)
    for _ in range(rng.integers(0, 9)):
        r = rng.uniform(1.2, 4.0) * unit
        draw.ellipse((x - r, y - r, x + r, y + r), fill=(220, 245, 255, 40), outline=(225, 245, 255, 150))
        draw.ellipse((x - 0.5 * r, y - 0.6 * r, x - 0.1 * r, y - 0.2 * r), fill=(255, 255, 255, 200))
        x, y = x + rng.normal(0, 4) * unit, y - rng.uniform(6, 20) * unit


def _under_water(colour: Colour, water: np.ndarray, row: float, haze: float) -> Colour:
    """Return a colour as seen through water: mixed with the water at that height."""
    mixed = (1 - haze) * np.asarray(colour) + haze * water[min(len(water) - 1, max(0, int(row)))]
    return _lit(mixed.tolist(), 1.0)


def _lit(colour: Sequence[float], factor: float) -> Colour:
    red, green, blue = (int(min(255, max(0, c * factor))) for c in colour)
    return red, green, blue
