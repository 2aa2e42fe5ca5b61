"""The gate: what an artifact must show in a fresh process before it is published."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kerasgen.errors import UserError

from ._process import FreshProcess, RuntimeFailure
from ._runtime import Arrays
from ._signature import Signature

if TYPE_CHECKING:
    import numpy as np

SIGNATURE = "serving_default"
# Correct exports differ by up to 4e-5 in the range of a picture; wrong ones by far more.
TOLERANCE = 1e-4
# Variants that round their weights: bytes a weight needs compared with float32, and the least PSNR in dB.
_ROUNDED = {"float16": (0.5, 60.0), "dynamic_int8": (0.25, 33.0), "static_int8": (0.25, 29.0)}
_MOST_WEIGHT_BYTES = 1.1
_MOST_ROUNDED_BYTES = 1.5  # some layers have no rounded form, and each channel has its scale
_SMALL = 64 * 1024  # the index and alignment of a tiny network's weights


class GateError(UserError):
    """An artifact failed a check, and was not published."""


@dataclass(frozen=True)
class Check:
    """One thing that the gate looked at.

    Attributes:
        name: loads, signature, operators, weights, finite or parity.
        passed: whether it is as it must be.
        found: what was found, in words.
    """

    name: str
    passed: bool
    found: str


@dataclass(frozen=True)
class Inspection:
    """All checks of an artifact, what its runtime said of it, and its distance from Keras."""

    checks: list[Check]
    description: dict
    max_difference: float


def inspect(format_name: str, variant: str, path: Path, network: Signature, inputs: Arrays) -> Inspection:
    """Load an artifact in a fresh process, run it on `inputs`, and compare with Keras."""
    try:
        with FreshProcess(format_name, path) as process:
            description = process.description
            signature = _check_signature(description, network)
            if not signature.passed:
                return Inspection([signature], description, float("inf"))
            outputs = process.run(SIGNATURE, inputs)
    except RuntimeFailure as failure:
        return Inspection([Check("loads", False, f"its runtime says: {failure}")], {}, float("inf"))
    difference, parity = _check_parity(variant, outputs, network.reference(inputs))
    ours = description["ours"]
    checks = [
        Check("loads", not ours, f"without {', '.join(ours) or 'Keras and kerasgen'}: {description['runtime']}"),
        signature,
        Check("operators", not description["foreign"], f"foreign operators: {description['foreign'] or 'none'}"),
        _check_weights(format_name, variant, path, description["weight_bytes"], network),
        *parity,
    ]
    return Inspection(checks, description, difference)


def _check_signature(description: dict, network: Signature) -> Check:
    found = description["signatures"].get(SIGNATURE, {"inputs": {}, "outputs": {}})
    same = set(found["inputs"]) == set(network.inputs) and set(found["outputs"]) == set(network.outputs)
    return Check("signature", same, f"{SIGNATURE} from {list(found['inputs'])} to {list(found['outputs'])}")


def _check_weights(format_name: str, variant: str, path: Path, found: int, network: Signature) -> Check:
    share, _ = _ROUNDED.get(variant, (1, None))
    needed = int(share * sum(weight.numpy().nbytes for weight in network.model.weights))
    # Equal constants are stored once, so that the whole file is what can't be smaller than the weights.
    least = path.stat().st_size if path.is_file() else found
    if format_name == "saved_model":
        most = _MOST_WEIGHT_BYTES * needed + _SMALL
    else:
        most = _MOST_ROUNDED_BYTES * needed + _SMALL if variant in _ROUNDED else float("inf")
    return Check("weights", needed <= least and found <= most, f"{found:,} bytes for weights of {needed:,} bytes")


def _check_parity(variant: str, outputs: Arrays, expected: Arrays) -> tuple[float, list[Check]]:
    import numpy as np

    finite = all(np.isfinite(value).all() for value in outputs.values())
    shapes = all(outputs[name].shape == expected[name].shape for name in expected)
    if not finite or not shapes:
        found = "NaN or infinity in the output" if not finite else "outputs of another shape than Keras'"
        return float("inf"), [Check("finite", False, found)]
    difference = max(float(np.abs(outputs[name] - expected[name]).max()) for name in expected)
    every = Check("finite", True, "all outputs are finite")
    if variant in _ROUNDED:
        _, least = _ROUNDED[variant]
        psnr = min(_psnr(outputs[name], expected[name]) for name in expected)
        return difference, [every, Check("parity", psnr >= least, f"{psnr:.1f} dB from Keras (least {least:.0f} dB)")]
    # Outputs beyond the range of pictures, such as log-variances, are compared relative to their size.
    scale = max(1.0, *(float(np.abs(value).max()) for value in expected.values()))
    limit = TOLERANCE * scale
    parity = Check("parity", difference <= limit, f"differs from Keras by {difference:.1e} (limit {limit:.0e})")
    return difference, [every, parity]


def _psnr(found: "np.ndarray", expected: "np.ndarray") -> float:
    """Peak signal-to-noise ratio in dB; the peak is the range of `expected`, 1 at least."""
    import numpy as np

    peak = max(1.0, float(np.ptp(expected)))
    error = float(np.mean(np.square(found.astype("float64") - expected)))
    return float(10 * np.log10(peak**2 / max(error, 1e-20)))
