"""One drawn fish: a species in one of its coats, cut out as an RGBA image."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from .species import NOSE, TAIL_ROOT, TAILS, Coat, Colour, Points, Species

STEPS = 14  # points of the outline of the back, and of the belly


def draw_fish(
    species: Species, coat: Coat, length_px: float, pose: tuple[float, int], rng: np.random.Generator
) -> Image.Image:
    """Draw one fish as an RGBA image cropped to its pixels.

    `pose` is the heading: degrees turned upwards, and +1 if the head is on the right or -1 if it is on the left.
    """
    oversampling = 3 if length_px < 45 else 2  # small fish need the finer edge; large ones would cost too much
    canvas = _FishCanvas(species, length_px * oversampling, bend=0.35 * rng.standard_normal(), rng=rng)
    canvas.draw_fins(coat.fins)
    canvas.draw_body(coat)
    canvas.draw_details(coat)
    image = canvas.cut_out()
    degrees, side = pose
    if side < 0:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    foreshortened = (max(1, round(image.width * rng.uniform(0.86, 1.0))), image.height)
    image = image.resize(foreshortened, Image.Resampling.BILINEAR)
    image = image.rotate(degrees * side, Image.Resampling.BILINEAR, expand=True)
    final_size = max(1, image.width // oversampling), max(1, image.height // oversampling)
    image = image.resize(final_size, Image.Resampling.BOX)
    return image.crop(image.getchannel("A").getbbox())


class _FishCanvas:
    """The drawing of one fish, seen from its right side with the head on the right."""

    def __init__(self, species: Species, scale: float, bend: float, rng: np.random.Generator) -> None:
        self.species, self.scale, self.bend, self.rng = species, scale, bend, rng
        self.width, self.height = round(1.12 * scale), round((species.height + 0.62) * scale)
        self.colour = Image.new("RGB", (self.width, self.height))
        self.alpha = Image.new("L", (self.width, self.height))
        self.upper, self.lower = _outline(species)
        self.line = max(1, round(scale / 60))

    def draw_fins(self, fins: Colour) -> None:
        """Draw the tail, dorsal and anal fin: slightly transparent, with darker rays."""
        length, half = -0.5 - TAIL_ROOT, self.species.tail_height / 2
        self._fin([(TAIL_ROOT + 0.03 + x * (length - 0.03), y * half) for x, y in TAILS[self.species.tail]], fins)
        self._fin([self._on_body(along, -1, height) for along, height in self.species.dorsal], fins)
        self._fin([self._on_body(along, 1, height) for along, height in self.species.anal], fins)

    def draw_body(self, coat: Coat) -> None:
        """Draw the body: dark back, light belly, markings, and an outline that sets it off from others of its kind."""
        outline = self._pixels([*self.upper, *self.lower[::-1]])
        mask = Image.new("L", self.colour.size)
        ImageDraw.Draw(mask).polygon(outline, fill=255)
        skin = self._countershaded(coat)
        getattr(self, "_mark_" + self.species.marking.replace(" ", "_"))(ImageDraw.Draw(skin), coat)
        self.colour.paste(skin, mask=mask)
        self.alpha.paste(255, mask=mask)
        ImageDraw.Draw(self.colour).line([*outline, outline[0]], fill=_shade(coat.back, 0.55), width=self.line)

    def draw_details(self, coat: Coat) -> None:
        """Draw gill, pectoral fin, mouth and eye, which show where the head is."""
        draw, height = ImageDraw.Draw(self.colour), self.species.height
        gill = [(0.27 - 0.03 * np.cos(t), 0.27 * height * np.sin(t)) for t in np.linspace(-1.2, 1.2, 7)]
        draw.line(self._pixels(gill), fill=_shade(coat.flank, 0.6), width=self.line)
        fin = self._pixels([(0.22, 0.06 * height), (0.06, 0.1 * height), (0.04, 0.36 * height), (0.12, 0.34 * height)])
        draw.polygon(fin, fill=_shade(coat.fins, 0.93), outline=_shade(coat.fins, 0.55))
        draw.line(self._pixels([(0.5, 0.04 * height), (0.44, 0.1 * height)]), fill=(60, 30, 30), width=self.line)
        radius = 0.032 + 0.03 * height
        self._disc(draw, 0.375, -0.13 * height, radius, (250, 248, 236))
        self._disc(draw, 0.38, -0.13 * height, 0.68 * radius, (12, 12, 18))
        self._disc(draw, 0.39, -0.17 * height, 0.22 * radius, (255, 255, 255))

    def cut_out(self) -> Image.Image:
        """Return the finished fish on a transparent background."""
        self.colour.putalpha(self.alpha)
        return self.colour

    def _countershaded(self, coat: Coat) -> Image.Image:
        half = self.species.height / 2
        rows = (np.arange(self.height) + 0.5 - self.height / 2) / self.scale / half  # -1 back, 1 belly
        stops, colours = (-1.0, -0.55, -0.1, 0.45, 0.9), (coat.back, coat.back, coat.flank, coat.flank, coat.belly)
        ramp = np.stack([np.interp(rows, stops, channel) for channel in np.transpose(colours)], axis=1)
        ramp += 26 * np.exp(-(((rows + 0.3) / 0.16) ** 2))[:, None]  # light from above on the upper flank
        strip = Image.fromarray(np.clip(ramp, 0, 255).astype(np.uint8)[:, None, :])
        return strip.resize(self.colour.size, Image.Resampling.NEAREST)

    def _mark_band(self, draw: ImageDraw.ImageDraw, coat: Coat) -> None:
        self._ribbon(draw, -0.02, 0.045, coat.marks)

    def _mark_stripe(self, draw: ImageDraw.ImageDraw, coat: Coat) -> None:
        self._ribbon(draw, -0.015, 0.06, coat.marks)

    def _mark_bars(self, draw: ImageDraw.ImageDraw, coat: Coat) -> None:
        for x in (0.37, 0.16, -0.06, -0.23):
            self._bar(draw, x, 0.06, coat.marks)

    def _mark_edged_bars(self, draw: ImageDraw.ImageDraw, coat: Coat) -> None:
        for x in (0.27, 0.0, -0.23):
            self._bar(draw, x, 0.1, (24, 20, 22))
            self._bar(draw, x, 0.07, coat.marks)

    def _mark_tiger_back(self, draw: ImageDraw.ImageDraw, coat: Coat) -> None:
        half = self.species.height / 2
        for x in np.arange(-0.24, 0.3, 0.07):
            points = [(x, -half), (x + 0.02, -0.6 * half), (x - 0.01, -0.2 * half)]
            draw.line(self._pixels(points), fill=coat.marks, width=2 * self.line)

    def _mark_spots(self, draw: ImageDraw.ImageDraw, coat: Coat) -> None:
        half = self.species.height / 2
        for x, y in self.rng.uniform((-0.25, -0.95), (0.3, 0.35), (22, 2)):
            self._disc(draw, x, y * half, self.rng.uniform(0.012, 0.026), coat.marks)

    def _mark_patches(self, draw: ImageDraw.ImageDraw, coat: Coat) -> None:
        half = self.species.height / 2
        for x, y in self.rng.uniform((-0.25, -0.9), (0.25, 0.3), (int(self.rng.integers(1, 4)), 2)):
            self._disc(draw, x, y * half, self.rng.uniform(0.05, 0.09), coat.marks)

    def _bar(self, draw: ImageDraw.ImageDraw, x: float, width: float, fill: Colour) -> None:
        reach = 0.6 * self.species.height
        right = [(x + width / 2 + 0.25 * (t * t - 0.1) * width, t * reach) for t in np.linspace(-1, 1, 7)]
        draw.polygon(self._pixels([*right, *((px - width, y) for px, y in right[::-1])]), fill=fill)

    def _ribbon(self, draw: ImageDraw.ImageDraw, y: float, width: float, fill: Colour) -> None:
        points = self._pixels([(x, y) for x in np.linspace(NOSE, TAIL_ROOT, 8)])
        draw.line(points, fill=fill, width=max(1, round(width * self.scale)))

    def _disc(self, draw: ImageDraw.ImageDraw, x: float, y: float, radius: float, fill: Colour) -> None:
        (px, py), r = self._pixels([(x, y)])[0], radius * self.scale
        draw.ellipse((px - r, py - r, px + r, py + r), fill=fill)

    def _fin(self, points: Points, fill: Colour) -> None:
        pixels = self._pixels(points)
        draw = ImageDraw.Draw(self.colour)
        draw.polygon(pixels, fill=fill, outline=_shade(fill, 0.6))
        root = ((pixels[0][0] + pixels[-1][0]) / 2, (pixels[0][1] + pixels[-1][1]) / 2)
        for tip in pixels[1:-1]:
            draw.line([root, tip], fill=_shade(fill, 0.75), width=self.line)
        ImageDraw.Draw(self.alpha).polygon(pixels, fill=225)

    def _on_body(self, along: float, side: int, height: float) -> tuple[float, float]:
        edge = self.upper if side < 0 else self.lower
        xs, ys = zip(*edge[::-1], strict=True)
        x = NOSE + along * (TAIL_ROOT - NOSE)
        inside = 0.03 if height == 0.0 else 0.0  # roots lie under the skin
        return x, float(np.interp(x, xs, ys)) + side * (height - inside)

    def _pixels(self, points: Points) -> list[tuple[float, float]]:
        """Convert body lengths to pixels; a swimming fish is bent, most of all at the tail."""
        middle_x, middle_y, bend = self.width / 2, self.height / 2, 0.25 * self.bend
        return [
            (middle_x + x * self.scale, middle_y + (y + bend * min(0.0, x - 0.1) ** 2) * self.scale) for x, y in points
        ]


def _outline(species: Species) -> tuple[Points, Points]:
    """Return back and belly from nose to tail root: a power curve for the head that tapers to a narrow root."""
    along = np.linspace(0, 1, STEPS) ** 1.5  # denser at the nose, where the outline bends most
    curve = along**species.blunt * (1.0 - along) ** 0.8
    half = species.height / 2 * (0.86 * curve / curve.max() + 0.14 * np.minimum(1.0, 6 * along))
    xs = NOSE + along * (TAIL_ROOT - NOSE)
    upper = [(float(x), float(-h)) for x, h in zip(xs, half, strict=True)]
    return upper, [(x, -0.92 * y) for x, y in upper]


def _shade(colour: Colour, factor: float) -> Colour:
    return int(colour[0] * factor), int(colour[1] * factor), int(colour[2] * factor)
