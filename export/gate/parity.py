"""How near two outputs are: differences, PSNR, and the part of an error that isn't noise."""

import numpy as np

# Correct exports differ by up to 4e-5 in the range of a picture; wrong ones by far more.
TOLERANCE = 1e-4
LEVELS = 1  # of a uint8 picture: a value between two levels may round to either


def limit(expected: np.ndarray) -> float:
    """Return by how much a float32 artifact may differ from what Keras gives."""
    if expected.dtype.kind != "f":
        return LEVELS if expected.dtype == np.uint8 else 0  # a truth value or a class is another one, or the same
    # Outputs beyond the range of pictures, such as log-variances, are compared relative to their size.
    return TOLERANCE * max(1.0, float(np.abs(expected).max(initial=0)))


def greatest_difference(found: np.ndarray, expected: np.ndarray) -> float:
    """Return the largest absolute difference; uint8 values don't wrap around."""
    return float(np.abs(found.astype("float64") - expected.astype("float64")).max(initial=0))


def peak(expected: np.ndarray) -> float:
    """Return what the noise of an output is compared with: 255 for uint8, else its range, 1 at least."""
    return 255.0 if expected.dtype == np.uint8 else max(1.0, float(np.ptp(expected.astype("float64"))))


def psnr(found: np.ndarray, expected: np.ndarray) -> float:
    """Return the peak signal-to-noise ratio in dB."""
    error = float(np.mean(np.square(found.astype("float64") - expected.astype("float64"))))
    return float(10 * np.log10(peak(expected) ** 2 / max(error, 1e-20)))


def bias(
    error: np.ndarray, expected: np.ndarray, noise: np.ndarray, negligible: float, axis: int = -1
) -> tuple[float, float]:
    """Return how large the systematic part of an error is beside noise, in the worst channel, and what chance gives.

    Each channel's error is fitted by `offset + gain * (expected - its mean)`, by least squares. What a lost offset,
    a lost gain or a swapped channel does is in these two numbers, whatever the noise is; rounding alone leaves them
    small beside the standard deviation of the error that it makes. In n values, a fit of pure noise has a standard
    error of its deviation / sqrt(n) in either, so four of them are what chance gives; the values of a picture are not
    independent, and the bound that the gate adds to it covers that.

    Args:
        error: found minus what it is compared with, float64.
        expected: what Keras or the float32 form gives; of the same shape.
        noise: an error to measure with, of the same shape, float64.
        negligible: a systematic error that is never too large.
        axis: of the channels, for arrays of rank 4; the last one's for others.

    Returns:
        The larger of |offset| and |gain| times the standard deviation of `expected`, divided by the noise's, and
        what chance explains of it.
    """
    axis = axis if error.ndim == 4 else -1
    errors, values, noises = (
        np.moveaxis(np.atleast_1d(a), axis, -1).reshape(-1, a.shape[axis] if a.ndim > 1 else 1)
        for a in (error, expected, noise)
    )
    deviation = np.maximum(np.maximum(noises.std(0), noises.std()), 1e-12)
    centered = values - values.mean(0)
    spread = np.maximum(np.sqrt(np.square(centered).mean(0)), 1e-12)
    gain = (errors * centered).mean(0) / spread  # times the spread
    systematic = np.maximum(np.abs(errors.mean(0)), np.abs(gain))
    share = np.where(systematic > negligible, systematic / deviation, 0.0)
    chance = 4 / np.sqrt(len(errors)) * np.maximum(errors.std(0), errors.std()) / deviation
    worst = int(np.argmax(share - chance))
    return float(share[worst]), float(chance[worst])
