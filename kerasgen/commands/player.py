"""What can be played with in a trained model: from what a page's controls give to a picture."""

import functools
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from kerasgen.commands.conditions import without_condition
from kerasgen.commands.generate import (
    Encoded,
    class_names_of,
    encode_source,
    fitted_sampler,
    generate_pictures,
    needs_data,
    origin_of,
    source_of,
)
from kerasgen.commands.translate import generator_of, ranges_of
from kerasgen.data.reading import read_picture, to_float
from kerasgen.data.sources.source import Fit
from kerasgen.drawing import grid, to_uint8
from kerasgen.errors import UserError, a_kind
from kerasgen.models import FromNoise, GenerativeModel
from kerasgen.models.translation import translate_images
from kerasgen.runs import data_of, load_model
from kerasgen.samplers import SAMPLERS


class Player:
    """A trained model to play with: each method takes what a page's controls give, and returns a uint8 picture.

    Args:
        run: a run folder, a .keras file, or a trained preset.
        condition: what is known of all pictures to translate, such as "tone=dark".

    Attributes:
        directions: in which it translates; none for a model that only generates.
        noise: the model, if it generates from latents; None for one that only translates.

    Raises:
        UserError: there is no model, a condition doesn't fit, or nothing of the model can be played with.

    Example:
        Player("vae_digits").generate(16, seed=0)
    """

    def __init__(self, run: str | os.PathLike, condition: Sequence[str] = ()):
        self.run = run
        model = without_condition(load_model(run), data_of(run), condition)
        ours = isinstance(model, GenerativeModel)
        self.directions = list(model.translators()) if ours else ["a2b"]
        self._translators = {direction: generator_of(model, direction) for direction in self.directions}
        # Attributes come in combinations, which no control of the page can ask for.
        self.noise = model if isinstance(model, FromNoise) and not model.num_attributes else None
        if not self.directions and self.noise is None:
            instead = (
                "is told attributes in combinations: use `kerasgen generate` with --where."
                if isinstance(model, FromNoise)
                else "neither translates nor generates from latents: give a run of another model."
            )
            raise UserError(f"{run} holds {a_kind(model)}, which {instead}")

    @functools.cached_property
    def class_names(self) -> list[str]:
        """What the classes are called, or else their numbers; none for a model that is told no class."""
        noise = self._generating
        if not noise.num_classes:
            return []
        try:
            names = class_names_of(noise, self.run, None)
        except UserError:  # the pictures are elsewhere by now; the model works without them
            names = ()
        return [names[i] if i < len(names) else str(i) for i in range(noise.num_classes)]

    @property
    def samplers(self) -> list[str]:
        """Names of the samplers that can draw the model's latents."""
        return [name for name, kind in SAMPLERS.items() if self._generating.encodes or not kind.needs_data]

    def translate(self, file: str | None, direction: str = "a2b") -> np.ndarray:
        """Translate a picture's file as `kerasgen translate` does."""
        if not file:
            raise UserError("There is no picture yet: drop one, take one with the camera, or draw one.")
        generator = self._translators[direction]
        value_range, _ = ranges_of(self.run, direction)
        picture = read_picture(Path(file), Fit("natural"), generator.input_shape[-1], value_range)
        translated = to_uint8(translate_images(generator, to_float(picture) * 2.0 - 1.0)[None] * 0.5 + 0.5)[0]
        channels = translated.shape[-1]
        if channels not in (1, 3):
            raise UserError(f"The model makes pictures of {channels} channels, which no page shows: use translate.")
        return translated.repeat(3, axis=-1) if channels == 1 else translated

    def generate(
        self,
        n: float,
        seed: float | None = 0,
        sampler: str = "prior",
        temperature: float = 1.0,
        label: int | None = None,
    ) -> np.ndarray:
        """Make a grid of new pictures as `kerasgen generate` does; without a label the classes take turns."""
        noise = self._generating
        encoded = self._encoded if needs_data(noise, sampler, None) else None
        fitted = fitted_sampler(noise, sampler, encoded, temperature)
        where = None if label is None else {"label": label}
        return grid(generate_pictures(noise, fitted, int(n), int(seed or 0), where, encoded=encoded).images)

    def decode(self, label: int | None, *z: float) -> np.ndarray:
        """Make the picture of one latent."""
        noise = self._generating
        labels = [label or 0] if noise.conditional else None
        return grid(noise.decode(np.array([z], np.float32), labels))

    def interpolate(
        self, start: str | None, end: str | None, steps: float = 8, seed: float | None = 0, label: int | None = None
    ) -> np.ndarray:
        """Go from one picture to another through the latents; an end that is missing is generated."""
        noise, count = self._generating, int(steps)
        labels = label or 0 if noise.conditional else None
        made = noise.generate(2, labels=labels, seed=int(seed or 0))
        first, last = (self._fitted(file) if file else made[i] for i, file in enumerate((start, end)))
        return grid(noise.interpolate(first, last, count, labels=labels), columns=count)

    def _fitted(self, file: str) -> np.ndarray:
        height, width, channels = self._generating.image_shape
        return to_float(read_picture(Path(file), Fit("cut", (height, width)), channels, ranges_of(self.run)[0]))

    @functools.cached_property
    def _encoded(self) -> Encoded:
        """The training pictures, for samplers that are fitted to them."""
        return encode_source(self._generating, source_of(self.run, None), None, origin_of(self.run, None))

    @property
    def _generating(self) -> FromNoise:
        if self.noise is None:
            raise UserError(f"{self.run} generates nothing from latents: translate with it.")
        return self.noise
