"""Distances between sets of image features, in float64 NumPy."""

from typing import NamedTuple

import numpy as np

from kerasgen.errors import UserError
from kerasgen.typing import Tensor


class KernelDistance(NamedTuple):
    """Mean and standard deviation over the subsets."""

    mean: float
    std: float


class Neighbors(NamedTuple):
    """Each is a share, and better when higher; density can exceed 1."""

    precision: float
    recall: float
    density: float
    coverage: float


def frechet_distance(a: Tensor, b: Tensor) -> float:
    """Fréchet distance of the Gaussians with the moments of two sets of features (Heusel et al. 2017, 1706.08500).

    |m_a − m_b|² + tr(S_a + S_b − 2 (S_a S_b)^½); the last trace is the nuclear norm of A Bᵀ / √((n − 1)(m − 1)) for
    the centered features, which needs no matrix square root and works for fewer features than dimensions.
    It falls with the number of features: always give it beside that number and the distance of real from real.

    Args:
        a, b: features [n, d] and [m, d].

    Raises:
        UserError: they don't have that shape, hold NaN, or are fewer than 2.

    Example:
        random = np.random.default_rng(0)
        frechet_distance(random.standard_normal((100, 4)), random.standard_normal((100, 4)))
    """
    a, b = _checked(a, b, 2)
    a_mean, b_mean = a.mean(axis=0), b.mean(axis=0)
    a, b = (a - a_mean) / np.sqrt(len(a) - 1), (b - b_mean) / np.sqrt(len(b) - 1)
    product = a @ b.T if len(a) * len(b) < a.shape[1] ** 2 else _triangle(a) @ _triangle(b).T
    cross = np.linalg.svd(product, compute_uv=False).sum()
    return float(np.sum((a_mean - b_mean) ** 2) + np.sum(a**2) + np.sum(b**2) - 2 * cross)


def _triangle(x: np.ndarray) -> np.ndarray:
    """R of x = Q R: the same scatter in at most d rows."""
    return np.asarray(np.linalg.qr(x, mode="r"))


def kernel_distance(
    a: Tensor, b: Tensor, subsets: int = 100, subset_size: int = 1000, seed: int = 0
) -> KernelDistance:
    """KID: unbiased squared MMD with the kernel (x·y / d + 1)³ (Bińkowski et al. 2018, 1801.01401).

    Args:
        a, b: features [n, d] and [m, d].
        subsets: how many random subsets are averaged.
        subset_size: features of each set in a subset; no more than there are.
        seed: of the subsets.

    Raises:
        UserError: the features don't have that shape, hold NaN, or are fewer than 2.
    """
    a, b = _checked(a, b, 2)
    size = min(subset_size, len(a), len(b))
    if size == len(a) == len(b):
        subsets = 1  # they would all be the same
    rng = np.random.default_rng(seed)
    found = [
        _squared_mmd(a[rng.permutation(len(a))[:size]], b[rng.permutation(len(b))[:size]]) for _ in range(subsets)
    ]
    return KernelDistance(float(np.mean(found)), float(np.std(found)))


def _squared_mmd(a: np.ndarray, b: np.ndarray) -> float:
    n, d = a.shape
    within = [((x @ x.T / d + 1) ** 3) for x in (a, b)]
    own = sum((kernel.sum() - np.trace(kernel)) / (n * (n - 1)) for kernel in within)
    return float(own - 2 * np.mean((a @ b.T / d + 1) ** 3))


def neighbors(real: Tensor, generated: Tensor, k_precision: int = 3, k_density: int = 5) -> Neighbors:
    """Precision, recall, density and coverage by nearest neighbors.

    Kynkäänniemi et al. 2019, 1904.06991 (precision, recall); Naeem et al. 2020, 2002.09797 (density, coverage).

    Args:
        real, generated: features [n, d], equally many: the larger set is cut.
        k_precision, k_density: which neighbor's distance is the radius around a feature.

    Raises:
        UserError: the features don't have that shape, hold NaN, or are no more than the neighbors.
    """
    real, generated = _checked(real, generated, max(k_precision, k_density) + 1)
    count = min(len(real), len(generated))
    real, generated = real[:count], generated[:count]
    between = _distances(real, generated)
    real_sorted, generated_sorted = (np.sort(_distances(x, x), axis=1) for x in (real, generated))
    # Place 0 is the feature itself.
    real_radius, generated_radius = real_sorted[:, k_precision], generated_sorted[:, k_precision]
    wide_radius = real_sorted[:, k_density]
    return Neighbors(
        precision=float((between < real_radius[:, None]).any(axis=0).mean()),
        recall=float((between < generated_radius[None]).any(axis=1).mean()),
        density=float((between < wide_radius[:, None]).sum(axis=0).mean() / k_density),
        coverage=float((between.min(axis=1) < wide_radius).mean()),
    )


def nearest_distances(generated: Tensor, training: Tensor) -> np.ndarray:
    """Root mean squared pixel difference of each picture from the nearest training picture: float64 [n].

    Much less than real test pictures have means that training pictures are repeated.

    Args:
        generated, training: images [n, …] and [m, …] of one shape, or features.

    Example:
        nearest_distances(np.ones((2, 8, 8, 1)), np.zeros((5, 8, 8, 1)))
    """
    generated, training = (np.asarray(x, np.float64).reshape(len(x), -1) for x in (generated, training))
    generated, training = _checked(generated, training, 1)
    rows = max(1, 2**24 // len(training))
    parts = [_distances(generated[i : i + rows], training).min(axis=1) for i in range(0, len(generated), rows)]
    return np.concatenate(parts) / np.sqrt(generated.shape[1])


def _distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Euclidean distances [n, m]."""
    squared = np.sum(a**2, axis=1)[:, None] + np.sum(b**2, axis=1) - 2 * a @ b.T
    return np.sqrt(np.maximum(squared, 0))


def _checked(a: Tensor, b: Tensor, least: int) -> tuple[np.ndarray, np.ndarray]:
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1]:
        raise UserError(f"The features have the shapes {a.shape} and {b.shape}, but [n, d] and [m, d] are needed.")
    if min(len(a), len(b)) < least:
        raise UserError(f"{len(a)} and {len(b)} features were given, but at least {least} of each are needed.")
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise UserError("The features hold NaN or infinity: look at the pictures that they were made of.")
    return a, b
