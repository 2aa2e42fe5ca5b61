"""Fidelity of pictures to a known truth."""

import numpy as np

from kerasgen.errors import UserError
from kerasgen.typing import Tensor

_SIGMA, _RADIUS = 1.5, 5


def psnr(images: Tensor, truth: Tensor) -> np.ndarray:
    """Peak signal-to-noise ratio in dB of images [n, height, width, channels] in [0, 1]: float64 [n], 120 at most.

    Example:
        psnr(np.zeros((1, 16, 16, 3)), np.full((1, 16, 16, 3), 0.1))  # [20.0]
    """
    images, truth = _checked(images, truth)
    return -10 * np.log10(np.maximum(np.mean((images - truth) ** 2, axis=(1, 2, 3)), 1e-12))


def ssim(images: Tensor, truth: Tensor) -> np.ndarray:
    """Structural similarity (Wang et al. 2004) of images [n, height, width, channels] in [0, 1]: float64 [n].

    With a Gaussian window of sigma 1.5 over 11 pixels, biased covariances, the mean over the channels and over all
    pixels whose window lies inside the picture: the paper's.

    Raises:
        UserError: the shapes differ, or a side is shorter than the window.

    Example:
        ssim(np.zeros((1, 16, 16, 3)), np.zeros((1, 16, 16, 3)))  # [1.0]
    """
    images, truth = _checked(images, truth)
    if min(images.shape[1:3]) < 2 * _RADIUS + 1:
        raise UserError(
            f"The pictures are {images.shape[1]}×{images.shape[2]}, but SSIM needs {2 * _RADIUS + 1} pixels a side."
        )
    mean_a, mean_b = _blurred(images), _blurred(truth)
    var_a, var_b = _blurred(images**2) - mean_a**2, _blurred(truth**2) - mean_b**2
    covariance = _blurred(images * truth) - mean_a * mean_b
    c1, c2 = 0.01**2, 0.03**2
    similarity = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
    similarity /= (mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2)
    return similarity.mean(axis=(1, 2, 3))


def _blurred(images: np.ndarray) -> np.ndarray:
    """Return the Gaussian mean of each window that lies inside the picture."""
    window = np.exp(-0.5 * (np.arange(-_RADIUS, _RADIUS + 1) / _SIGMA) ** 2)
    window /= window.sum()
    for axis in (1, 2):
        images = np.lib.stride_tricks.sliding_window_view(images, len(window), axis) @ window
    return images


def _checked(images: Tensor, truth: Tensor) -> tuple[np.ndarray, np.ndarray]:
    images, truth = np.asarray(images, np.float64), np.asarray(truth, np.float64)
    if images.ndim != 4 or images.shape != truth.shape:
        raise UserError(
            f"The images have the shapes {images.shape} and {truth.shape}, but the same "
            "[n, height, width, channels] is needed for both."
        )
    return images, truth
