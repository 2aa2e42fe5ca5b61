"""What pairs are for: how a task is scored, and the classical answer that a network must beat."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from kerasgen.drawing import LUMA
from kerasgen.errors import UserError
from kerasgen.typing import Tensor

_MOST_DECIBELS = 120.0


@dataclass(frozen=True)
class Task:
    """How answers to pairs (a, b) in [-1, 1] are measured.

    Attributes:
        baseline: the name of the usual answer, which `answer` gives.
        answer: (a, b) to images like b, without a network.
        errors: (a, b, answer) to squared errors in units of [0, 1] images, one for each picture, or for each pixel.
        pooled: whether the PSNR is that of all errors together, rather than the mean of each picture's.
    """

    baseline: str
    answer: Callable[[np.ndarray, np.ndarray], np.ndarray]
    errors: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
    pooled: bool = False

    def score(
        self, translate: Callable[[np.ndarray], np.ndarray], dataset: Iterable[Mapping[str, Tensor]]
    ) -> dict[str, float]:
        """Return {"pictures", "psnr", "psnr_input", "psnr_BASELINE"} of a dataset's pairs.

        Raises:
            UserError: the dataset is empty.
        """
        rows, pictures = [], 0
        for batch in dataset:
            a, b = np.asarray(batch["a"]), np.asarray(batch["b"])
            answers = {"psnr": translate(a), "psnr_input": untouched(a, b).numpy()}
            answers[f"psnr_{self.baseline}"] = self.answer(a, b)
            rows.append({name: self.errors(a, b, answer) for name, answer in answers.items()})
            pictures += len(b)
        if not rows:
            raise UserError("The dataset is empty: give at least one batch of pairs.")
        found = {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}
        scores = {n: _decibels(e.mean()) if self.pooled else _decibels(e).mean() for n, e in found.items()}
        return {"pictures": float(pictures), **{name: float(score) for name, score in scores.items()}}


def psnr(images: Tensor, truth: Tensor) -> Tensor:
    """Return PSNR in dB of images in [-1, 1], clipped to it first, against the truth: [batch].

    Of a picture that is the truth it is 120: one that is infinite would make a validation's mean so.
    """
    found = tf.image.psnr(tf.clip_by_value(images, -1.0, 1.0) + 1.0, truth + 1.0, max_val=2.0)
    return tf.minimum(found, _MOST_DECIBELS)


def likeness(images: Tensor, a: Tensor, truth: Tensor) -> dict[str, Tensor]:
    """Return "psnr" and "psnr_input" in dB, and where pictures are large enough "ssim", by name: [batch] each.

    Args:
        images: the answers, which are clipped to [-1, 1] first.
        a: what they were made from.
        truth: what they should be, in [-1, 1].
    """
    found = {"psnr": psnr(images, truth), "psnr_input": psnr(untouched(a, truth), truth)}
    sides = truth.shape[1:3]
    if None not in sides and min(sides) >= 11:  # the size of SSIM's window
        found["ssim"] = tf.image.ssim(tf.clip_by_value(images, -1.0, 1.0) + 1.0, truth + 1.0, max_val=2.0)
    return found


def enlarged_input(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the colors of the input as large as the output, pixel by pixel, for people."""
    factor = b.shape[1] // a.shape[1]
    return a[..., :3].repeat(factor, axis=1).repeat(factor, axis=2)


def untouched(a: Tensor, b: Tensor) -> Tensor:
    """Return the input in the form of the output: enlarged by bicubic interpolation, without a mask."""
    a = a[..., : b.shape[-1]]
    if a.shape[1:3] != b.shape[1:3]:
        a = tf.clip_by_value(tf.image.resize(a, b.shape[1:3], "bicubic", antialias=True), -1.0, 1.0)
    return tf.convert_to_tensor(a)


def _bicubic(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return untouched(a, b).numpy()


def _mean_fill(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Fill each hole with the mean of the picture's known pixels."""
    known = a[..., 3:] > 0
    mean = (a[..., :3] * known).sum((1, 2), keepdims=True) / known.sum((1, 2), keepdims=True)
    return np.where(known, a[..., :3], mean)


def _best_gain(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Apply the best single gain and offset to each picture, which nobody can know without the truth."""
    fitted = []
    for image, truth in zip(_bicubic(a, b), b, strict=True):
        spread = image - image.mean()
        # An empty picture has no spread, and its best gain is 0.
        gain = (spread * (truth - truth.mean())).mean() / max(np.square(spread).mean(), 1e-12)
        fitted.append(np.clip(gain * spread + truth.mean(), -1, 1))
    return np.stack(fitted)


def _errors(a: np.ndarray, b: np.ndarray, answer: np.ndarray) -> np.ndarray:
    return (((answer - b) / 2) ** 2).reshape(len(b), -1).mean(-1)


def _luma_errors(a: np.ndarray, b: np.ndarray, answer: np.ndarray) -> np.ndarray:
    """Measure luma without a rim of 4 pixels, as is usual for super-resolution."""
    luma = np.array(LUMA, np.float32)
    inner = (((answer - b) @ luma / 2) ** 2)[:, 4:-4, 4:-4]
    return inner.reshape(len(b), -1).mean(-1)


def _errors_in_holes(a: np.ndarray, b: np.ndarray, answer: np.ndarray) -> np.ndarray:
    return (((answer - b) / 2) ** 2)[a[..., 3] <= 0].ravel()


def _decibels(squared_error: np.ndarray) -> np.ndarray:
    return -10 * np.log10(np.maximum(squared_error, 10 ** (-_MOST_DECIBELS / 10)))


# A new task is an entry here.
TASKS = {
    "restoration": Task("best_gain", _best_gain, _errors),
    "super_resolution": Task("bicubic", _bicubic, _luma_errors),
    "inpainting": Task("mean_fill", _mean_fill, _errors_in_holes, pooled=True),
}
