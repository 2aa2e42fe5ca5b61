"""How an unpaired translation is doing: its distance from the target domain, and whether its colors turn or drift."""

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence

import keras
import numpy as np

from kerasgen.drawing import LUMA
from kerasgen.typing import Tensor

_MOST = 64  # pictures of each domain
_LUMA = np.array(LUMA, np.float32)
_DOMAINS = {"a2b": ("a", "b"), "b2a": ("b", "a")}
# Networks that have hardly learned correlate by chance, up to a tenth either way; a negative by more than a half.
_INVERTED = -0.25
# The identity error falls, or sways by a fifth, while a training is well; a generator with a residual begins at the
# identity itself and leaves it a little, which a twentieth of the range (2, from -1 to 1) leaves out.
_RISEN, _IN_A_ROW, _VISIBLE = 1.5, 3, 0.1


class TranslationWatch(keras.callbacks.Callback):
    """Measures each translation after every N epochs, and warns where light and dark change places or colors drift.

    It adds `val_kernel` to the logs, the mean over both directions of the distance of translated from target
    pictures. List it before what reads the logs. An unpaired training can find the negative of a translation: its
    losses are as good. Where no truth is known, and a direction's output darkens as its input grows light, a warning
    says so once; so does one where the identity error has risen, which is what a generator changes in pictures that
    are of its target domain already (Zhu et al. 2017, section 5.2).

    Args:
        batches: of validation, dicts of "a" and "b" in [-1, 1], and "truth_b" or "truth_a" where they are known.
        distance: of two sets of pictures [n, height, width, channels] in [0, 1]; None measures none.
        every: epochs.
        before: logs of the epochs before this `fit`, of a training that goes on.
    """

    def __init__(
        self,
        batches: Iterable[Mapping[str, Tensor]],
        distance: Callable[[np.ndarray, np.ndarray], float] | None,
        every: int = 1,
        before: Sequence[Mapping[str, float]] = (),
    ):
        super().__init__()
        self.pictures, self.distance, self.every = _first(batches), distance, every
        self._logs = list(before)
        self._warned: set[str] = set()

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        last = epoch + 1 == self.params.get("epochs")
        self._logs.append(dict(logs or {}))
        self._look_for_drift()
        if logs is None or ((epoch + 1) % self.every and not last):
            return
        distances = []
        for direction in self.model.translators():
            source, target = _DOMAINS[direction]
            fake = self.model.translate(self.pictures[source], direction)
            self._look(direction, self.pictures[source], fake, f"truth_{target}" in self.pictures, epoch)
            # A distance of distributions needs two pictures of each; a folder of few has fewer to validate with.
            if self.distance is not None and min(len(fake), len(self.pictures[target])) > 1:
                distances.append(self.distance(fake * 0.5 + 0.5, self.pictures[target] * 0.5 + 0.5))
        if distances:
            logs["val_kernel"] = float(np.mean(distances))

    def _look(self, direction: str, given: np.ndarray, fake: np.ndarray, known: bool, epoch: int) -> None:
        found = light_correlation(given, fake)
        if known or found > _INVERTED or direction in self._warned:
            return
        self._warned.add(direction)
        warnings.warn(
            f"After epoch {epoch + 1} the translation {direction} makes light what was dark (correlation "
            f"{found:.2f}): look at the pictures. Unless the other domain looks so, begin again with another --seed, "
            "a larger lambda_identity, or generator_options with residual=true.",
            stacklevel=2,
        )

    def _look_for_drift(self) -> None:
        for direction in self.model.translators():
            _, target = _DOMAINS[direction]
            name = f"identity_{target}"  # not logged where its weight is 0
            errors = [numbers[name] for numbers in self._logs if name in numbers]
            lowest = risen_from(errors)
            if lowest is None or name in self._warned or f"truth_{target}" in self.pictures:
                continue
            self._warned.add(name)
            warnings.warn(
                f"After epoch {len(self._logs)} the translation {direction} changes pictures that are as they should "
                f"be ({name} {errors[-1]:.3g}, after {errors[lowest]:.3g} in epoch {lowest + 1}), so its colors "
                f"drift: look at the pictures from epoch {lowest + 1} on, and begin again with a larger "
                "lambda_identity, a smaller --learning-rate, or fewer --epochs.",
                stacklevel=2,
            )


def risen_from(errors: Sequence[float]) -> int | None:
    """Return which identity error was the lowest, if the last three are all far above it; None if they aren't.

    Args:
        errors: of each epoch; mean absolute errors of pictures in [-1, 1].
    """
    before, last = errors[:-_IN_A_ROW], errors[-_IN_A_ROW:]
    if not before:
        return None
    lowest = int(np.argmin(before))
    return lowest if min(last) > max(_RISEN * before[lowest], _VISIBLE) else None


def light_correlation(images: np.ndarray, others: np.ndarray) -> float:
    """Return the correlation of two sets' light, over the pixels of each pair of pictures, averaged; 0 for even ones.

    Args:
        images, others: [n, height, width, 1 or 3] of one size.
    """
    a, b = (_light(x).reshape(len(x), -1) for x in (images, others))
    a, b = (x - x.mean(1, keepdims=True) for x in (a, b))
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return float(np.mean(np.sum(a * b, axis=1) / np.maximum(lengths, 1e-6)))


def _light(images: np.ndarray) -> np.ndarray:
    return images @ _LUMA if images.shape[-1] == 3 else images.mean(-1)


def _first(batches: Iterable[Mapping[str, Tensor]]) -> dict[str, np.ndarray]:
    """Return the first pictures of each kind; of the size of the very first, where sizes vary."""
    found: dict[str, list[np.ndarray]] = {}
    for batch in batches:
        arrays = {name: np.asarray(images) for name, images in batch.items()}
        if all(name not in found or found[name][0].shape[1:] == a.shape[1:] for name, a in arrays.items()):
            for name, array in arrays.items():
                found.setdefault(name, []).append(array)
        if sum(map(len, found["a"])) >= _MOST:
            break
    return {name: np.concatenate(parts)[:_MOST] for name, parts in found.items()}
