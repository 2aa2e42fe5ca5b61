"""Densities of Gaussians and of their mixtures, in float64 NumPy."""

from typing import Self

import numpy as np

_CHUNK = 2**24  # numbers in the largest temporary array


def full_log_density(z: np.ndarray, mean: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """Log-densities of z [n, d] under each of k Gaussians (means [k, d], covariances [k, d, d]): [n, k]."""
    factors = np.linalg.cholesky(covariance)
    constant = -0.5 * z.shape[1] * np.log(2 * np.pi) - np.log(np.diagonal(factors, axis1=1, axis2=2)).sum(axis=1)
    inverses = np.linalg.inv(factors)
    distances = [np.sum(((z - m) @ w.T) ** 2, axis=1) for m, w in zip(mean, inverses, strict=True)]
    return constant - 0.5 * np.stack(distances, axis=1)


def kernel_log_density(
    z: np.ndarray, mean: np.ndarray, variance: np.ndarray, scales: np.ndarray, log_weight: np.ndarray
) -> np.ndarray:
    """Log-density of a mixture of diagonal Gaussians, for several factors of their variances.

    Args:
        z: [n, d].
        mean, variance: [m, d], of the mixture's members.
        scales: [s], factors of the variances.
        log_weight: [m], or [n, m] where it depends on z; need not be normalized.

    Returns:
        log Σ_i w_i N(z; mean_i, scale · variance_i): [s, n].
    """
    inverse = 1 / variance
    offset = np.sum(mean**2 * inverse, axis=1)
    constant = -0.5 * (z.shape[1] * np.log(2 * np.pi) + np.log(variance).sum(axis=1))
    rows = max(1, _CHUNK // len(mean))
    found = np.empty((len(scales), len(z)))
    for start in range(0, len(z), rows):
        part = slice(start, start + rows)
        # One matrix product a term: the differences [n, m, d] would not fit into memory.
        distance = z[part] ** 2 @ inverse.T - 2 * z[part] @ (mean * inverse).T + offset
        weight = constant + (log_weight[part] if log_weight.ndim == 2 else log_weight)
        for i, scale in enumerate(scales):
            found[i, part] = log_sum_exp(weight - 0.5 * distance / scale) - 0.5 * z.shape[1] * np.log(scale)
    return found


def log_sum_exp(x: np.ndarray) -> np.ndarray:
    """log Σ exp(x) over the last axis."""
    top = np.max(x, axis=-1, keepdims=True)
    top = np.where(np.isfinite(top), top, 0.0)
    difference = x - top
    np.exp(difference, out=difference)
    with np.errstate(divide="ignore"):
        return np.log(np.sum(difference, axis=-1)) + top[..., 0]


class Moments:
    """Count, mean and scatter of the posterior samples of some pictures; the scatter is count · covariance.

    The covariance is that of the law of total variance: of the means, plus the mean of the variances.
    """

    def __init__(self, count: int, mean: np.ndarray, scatter: np.ndarray):
        self.count, self.mean, self.scatter = count, mean, scatter

    @classmethod
    def of(cls, mean: np.ndarray, variance: np.ndarray) -> Self:
        """From posterior means and variances, [n, d] each."""
        center = mean.mean(axis=0)
        centered = mean - center
        return cls(len(mean), center, centered.T @ centered + np.diag(variance.sum(axis=0)))

    def without(self, part: Self) -> Self:
        """Those of the rest, when a part is taken away."""
        count = self.count - part.count
        mean = (self.count * self.mean - part.count * part.mean) / count
        step = part.mean - mean
        between = np.outer(step, step) * (part.count * count / self.count)
        return type(self)(count, mean, self.scatter - part.scatter - between)

    def shrunk(self, towards: np.ndarray, strength: float) -> np.ndarray:
        """(scatter + strength · towards) / (count + strength): the covariance, shrunk towards another."""
        return (self.scatter + strength * towards) / (self.count + strength)


def spread(noise: np.ndarray, part: np.ndarray, covariances: np.ndarray) -> np.ndarray:
    """Give standard noise [n, d] the covariances [k, d, d] of its parts [n]."""
    factors, result = np.linalg.cholesky(covariances), np.empty_like(noise)
    for number in np.unique(part):
        own = part == number
        result[own] = noise[own] @ factors[number].T
    return result


def choose(weights: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """n places drawn with probabilities proportional to the weights."""
    edges = np.cumsum(weights)
    return np.minimum(np.searchsorted(edges, rng.random(n) * edges[-1], side="right"), len(weights) - 1)
