"""What layers want to know of a whole map, gathered strip by strip."""

from abc import ABC, abstractmethod

import numpy as np
from keras import ops

from kerasgen.typing import Tensor


class Gathered(ABC):
    """A number of each channel, of a map that comes in strips [1, rows, width, channels]."""

    @abstractmethod
    def add(self, strip: Tensor) -> None:
        """Take further rows."""

    @abstractmethod
    def result(self) -> np.ndarray:
        """Return float64 [..., channels]."""


class Moments(Gathered):
    """Mean and variance, [2, 1, 1, channels].

    In float32 within a row, in float64 over rows and strips (Chan et al. 1983): a sum of squares alone loses all
    digits where the mean is larger than the spread.
    """

    def __init__(self) -> None:
        self.count, self.mean, self.squares = 0, np.float64(0.0), np.float64(0.0)

    def add(self, strip: Tensor) -> None:
        x = ops.cast(strip, "float32")
        row_mean = ops.mean(x, axis=2, keepdims=True)
        row_variance = ops.mean(ops.square(x - row_mean), axis=2)
        means = ops.convert_to_numpy(row_mean)[0, :, 0].astype("float64")
        variances = ops.convert_to_numpy(row_variance)[0].astype("float64")
        count, mean = len(means) * strip.shape[2], means.mean(0)
        squares = strip.shape[2] * (variances.sum(0) + np.square(means - mean).sum(0))
        total, delta = self.count + count, mean - self.mean
        self.squares = self.squares + squares + np.square(delta) * (self.count * count / total)
        self.mean = self.mean + delta * (count / total)
        self.count = total

    def result(self) -> np.ndarray:
        return np.stack([self.mean, self.squares / self.count])[:, None, None]


class Sum(Gathered):
    """The sum, or the mean: [channels]."""

    def __init__(self, mean: bool = False) -> None:
        self.of_mean, self.count = mean, 0
        self.total: np.ndarray = np.zeros(())

    def add(self, strip: Tensor) -> None:
        rows = ops.convert_to_numpy(ops.sum(ops.cast(strip, "float32"), axis=2))[0]
        self.total = self.total + rows.astype("float64").sum(0)
        self.count += strip.shape[1] * strip.shape[2]

    def result(self) -> np.ndarray:
        return self.total / self.count if self.of_mean else self.total


class Largest(Gathered):
    """The largest value: [channels]."""

    def __init__(self) -> None:
        self.value: np.ndarray = np.array(-np.inf)

    def add(self, strip: Tensor) -> None:
        rows = ops.convert_to_numpy(ops.max(ops.cast(strip, "float32"), axis=(1, 2)))[0]
        self.value = np.maximum(self.value, rows.astype("float64"))

    def result(self) -> np.ndarray:
        return self.value
