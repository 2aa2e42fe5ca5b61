"""The gate: what an artifact must show in a fresh process before it is published."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kerasgen.errors import UserError

from ..contract.served import Entry, decoded
from ..contract.signature import Signature
from .process import FreshProcess, RuntimeFailure
from .runtime import Arrays

if TYPE_CHECKING:
    import keras
    import numpy as np

Signatures = dict[str, Signature | Entry]
SIGNATURE = "serving_default"
# Correct exports differ by up to 4e-5 in the range of a picture; wrong ones by far more.
TOLERANCE = 1e-4
LEVELS = 1  # of a uint8 picture: a value between two levels may round to either
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
    """All checks of an artifact, what its runtime said of it, and what it gave.

    Attributes:
        checks: every check, each with what was found.
        description: what the runtime said of the artifact.
        max_difference: the largest difference of `serving_default` from Keras: in levels for uint8 pictures.
        outputs: what `serving_default` gave.
    """

    checks: list[Check]
    description: dict
    max_difference: float
    outputs: Arrays


def inspect(
    format_name: str,
    variant: str,
    path: Path,
    signatures: Signatures,
    sent: dict[str, Arrays],
    partly: bool = False,
) -> Inspection:
    """Load an artifact in a fresh process, run each signature on what is `sent` to it, and compare with Keras.

    With `partly`, the artifact may have further signatures, and the weights of those.
    """
    try:
        with FreshProcess(format_name, path) as process:
            description = process.description
            named = _check_signatures(description, signatures, partly)
            if not named.passed:
                return Inspection([named], description, float("inf"), {})
            outputs = {name: process.run(name, sent[name]) for name in signatures}
    except RuntimeFailure as failure:
        return Inspection([Check("loads", False, f"its runtime says: {failure}")], {}, float("inf"), {})
    ours = description["ours"]
    checks = [
        Check("loads", not ours, f"without {', '.join(ours) or 'Keras and kerasgen'}: {description['runtime']}"),
        named,
        Check("operators", not description["foreign"], f"foreign operators: {description['foreign'] or 'none'}"),
    ]
    if not partly:
        weights = _all_weights(signatures)
        checks.append(_check_weights(format_name, variant, path, description["weight_bytes"], weights))
    differences = {}
    for name, signature in signatures.items():
        expected = signature.reference(sent[name])
        differences[name], found = _check_parity(variant, outputs[name], expected)
        suffix = "" if name == SIGNATURE else f" of {name}"
        checks += [Check(check.name + suffix, check.passed, check.found) for check in found]
    return Inspection(checks, description, differences[SIGNATURE], outputs[SIGNATURE])


def _check_signatures(description: dict, signatures: Signatures, partly: bool) -> Check:
    found = description["signatures"]
    same = (set(found) >= set(signatures) if partly else set(found) == set(signatures)) and all(
        set(found[name]["inputs"]) == set(signature.inputs) and set(found[name]["outputs"]) == set(signature.outputs)
        for name, signature in signatures.items()
    )
    said = "; ".join(f"{n} from {list(f['inputs'])} to {list(f['outputs'])}" for n, f in found.items())
    return Check("signature", same, said or "none")


def _all_weights(signatures: Signatures) -> "list[keras.Variable]":
    """Return the weights of all networks, each once."""
    models = [s.model for s in signatures.values() if isinstance(s, Signature)]
    return list({id(weight): weight for model in models for weight in model.weights}.values())


def _check_weights(format_name: str, variant: str, path: Path, found: int, weights: "list[keras.Variable]") -> Check:
    share, _ = _ROUNDED.get(variant, (1, None))
    values = [weight.numpy() for weight in weights]
    needed = int(share * sum(value.nbytes for value in values))
    # Equal constants, such as the zeros that biases begin with, are stored once, and not always among the weights.
    least = int(share * sum(map(len, {value.tobytes() for value in values})))
    held = path.stat().st_size if path.is_file() else found
    if format_name == "saved_model":
        most = _MOST_WEIGHT_BYTES * needed + _SMALL
    else:
        most = _MOST_ROUNDED_BYTES * needed + _SMALL if variant in _ROUNDED else float("inf")
    return Check("weights", least <= held and found <= most, f"{found:,} bytes for weights of {needed:,} bytes")


def _check_parity(variant: str, outputs: Arrays, expected: Arrays) -> tuple[float, list[Check]]:
    import numpy as np

    # A client compares pictures, not the bytes of PNG files.
    outputs = {n: decoded(v) if v.dtype.kind == "S" and expected[n].ndim == 4 else v for n, v in outputs.items()}
    finite = all(np.isfinite(value).all() for value in outputs.values())
    shapes = all(outputs[name].shape == expected[name].shape for name in expected)
    if not finite or not shapes:
        found = "NaN or infinity in the output" if not finite else "outputs of another shape than Keras'"
        return float("inf"), [Check("finite", False, found)]
    difference = max(greatest_difference(outputs[name], expected[name]) for name in expected)
    every = Check("finite", True, "all outputs are finite")
    if variant in _ROUNDED:
        _, least = _ROUNDED[variant]
        quality = min(psnr(outputs[name], expected[name]) for name in expected)
        found = f"{quality:.1f} dB from Keras (least {least:.0f} dB)"
        return difference, [every, Check("parity", quality >= least, found)]
    limits = {name: _limit(value) for name, value in expected.items()}
    near = all(greatest_difference(outputs[n], expected[n]) <= limit for n, limit in limits.items())
    whole = all(value.dtype.kind != "f" for value in expected.values())
    found = f"differs from Keras by {difference:.1e} (limit {max(limits.values()):.0e})"
    found = f"differs from Keras by {difference:.0f} levels (limit {LEVELS})" if whole else found
    return difference, [every, Check("parity", near, found)]


def tolerance_text(variant: str, pictures: bool) -> str:
    """Return how near to Keras an artifact is, in words."""
    if variant in _ROUNDED:
        return f"at least {_ROUNDED[variant][1]:.0f} dB PSNR"
    return f"at most {LEVELS} level of 255" if pictures else f"at most {TOLERANCE:.0e}, relative to values above 1"


def _limit(expected: "np.ndarray") -> float:
    import numpy as np

    if expected.dtype.kind != "f":
        return LEVELS
    # Outputs beyond the range of pictures, such as log-variances, are compared relative to their size.
    return TOLERANCE * max(1.0, float(np.abs(expected).max()))


def greatest_difference(found: "np.ndarray", expected: "np.ndarray") -> float:
    """Return the largest absolute difference; uint8 values don't wrap around."""
    import numpy as np

    return float(np.abs(found.astype("float64") - expected.astype("float64")).max())


def psnr(found: "np.ndarray", expected: "np.ndarray") -> float:
    """Peak signal-to-noise ratio in dB; the peak is 255 for uint8, else the range of `expected`, 1 at least."""
    import numpy as np

    peak = 255.0 if expected.dtype == np.uint8 else max(1.0, float(np.ptp(expected)))
    error = float(np.mean(np.square(found.astype("float64") - expected)))
    return float(10 * np.log10(peak**2 / max(error, 1e-20)))
