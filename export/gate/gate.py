"""The gate: what an artifact must show in a fresh process before it is published.

The float32 form is compared with Keras. A variant that rounds is made from a float32 form that was itself proven, and
compared with that: it must stay within its least PSNR, and its error must be noise. So a fault of the conversion,
which rounding would hide, is found where nothing is rounded; and one of the rounding itself is found as a bias.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from kerasgen.errors import UserError

from ..contract.format import Format, Variant
from ..contract.served import Entry, decoded
from ..contract.signature import Signature
from .parity import LEVELS, TOLERANCE, bias, greatest_difference, limit, peak, psnr
from .process import ForeignOperators, FreshProcess, RuntimeFailure
from .runtime import Arrays

if TYPE_CHECKING:
    import keras

Signatures = Mapping[str, Signature | Entry]
SIGNATURE = "serving_default"
# The systematic part of a rounded variant's error, beside its noise. Rounded weights shift a channel a little, on
# every picture alike: our networks show 0.2 to 0.8 where it matters. Where the noise is far below what a variant may
# have, the shift may be the larger of the two; so one of a quarter of the allowed error is never too large.
MOST_BIAS, NEGLIGIBLE = 1.0, 1 / 4
# The same beside what rounding the model once more gives: both shift alike, and to the bit with the same calibration.
MOST_BIAS_AGAIN = 0.1
_MOST_ROUNDED_BYTES = 1.5  # some layers have no rounded form, and each channel has its scale
# The index and alignment of a tiny network's weights, and of each variable its name.
_SMALL, _OF_A_VARIABLE = 64 * 1024, 256


class GateError(UserError):
    """An artifact failed a check, and was not published."""


@dataclass(frozen=True)
class Check:
    """One thing that the gate looked at.

    Attributes:
        name: loads, signature, operators, weights, finite, parity or bias.
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
        outputs: what each signature gave.
    """

    checks: list[Check]
    description: dict
    max_difference: float
    outputs: dict[str, Arrays]

    @property
    def passed(self) -> bool:
        """Tell whether every check passed."""
        return all(check.passed for check in self.checks)

    def require(self, what: str) -> None:
        """Raise `GateError` unless every check passed; `what` was looked at."""
        said = "; ".join(f"{check.name}: {check.found}" for check in self.checks if not check.passed)
        if said:
            raise GateError(f"{what} failed a check and was not published ({said}).")


@dataclass(frozen=True)
class Inspected:
    """An artifact to inspect.

    Attributes:
        name, form, variant: its format's name and declaration, and its variant.
        path: where it is.
        signatures: what it must offer.
        sent: a batch for each signature.
        keras: what Keras gives for it.
    """

    name: str
    form: Format
    variant: Variant
    path: Path
    signatures: Signatures
    sent: dict[str, Arrays]
    keras: dict[str, Arrays]

    def float32_form(self, path: Path) -> "Inspected":
        """Return what the variant is made from."""
        return replace(self, variant=self.form.variant("float32"), path=path)


@dataclass(frozen=True)
class Again:
    """What a variant gives that was made once more from the same model.

    Attributes:
        outputs: of `serving_default`.
        same: whether it was made in the same way to the bit; not so if other inputs calibrated it.
    """

    outputs: Arrays
    same: bool


def inspect(
    artifact: Inspected,
    float32: dict[str, Arrays] | None = None,
    again: Again | None = None,
    partly: bool = False,
) -> Inspection:
    """Load an artifact in a fresh process, run each signature on what is sent to it, and compare.

    Args:
        artifact: what to look at.
        float32: the outputs of the proven float32 form, for a variant that rounds.
        again: the same variant made once more from that form, to compare the bias with; what the variant itself
            shows is not enough to find a small fault in an artifact of unknown origin.
        partly: the artifact may have further signatures, and the weights of those.
    """
    try:
        with FreshProcess(artifact.name, artifact.path) as process:
            description = process.description
            named = _check_signatures(description, artifact.signatures, partly)
            if not named.passed:
                return Inspection([named], description, float("inf"), {})
            outputs = {name: process.run(name, artifact.sent[name]) for name in artifact.signatures}
    except ForeignOperators as foreign:
        return Inspection([Check("operators", False, str(foreign))], {}, float("inf"), {})
    except RuntimeFailure as failure:
        return Inspection([Check("loads", False, _failed(failure, artifact.form))], {}, float("inf"), {})
    ours = description["ours"]
    checks = [
        Check("loads", not ours, f"without {', '.join(ours) or 'Keras and kerasgen'}: {description['runtime']}"),
        named,
        Check("operators", True, "foreign operators: none"),
        _check_weights(artifact, description["weight_bytes"], partly),
    ]
    differences = {}
    for name, signature in artifact.signatures.items():
        suffix = "" if name == SIGNATURE else f" of {name}"
        found = _comparable(outputs[name], artifact.keras[name])
        exact = None if float32 is None else float32[name]
        differences[name], parity = _check_parity(artifact.variant, found, artifact.keras[name], exact)
        if exact is not None and parity[-1].name == "parity":
            axis = 1 if isinstance(signature, Signature) and signature.layout == "nchw" else -1
            parity += [_check_bias(artifact.variant, found, exact, again, axis)]
        checks += [Check(check.name + suffix, check.passed, check.found) for check in parity]
    return Inspection(checks, description, differences[SIGNATURE], outputs)


def _failed(failure: RuntimeFailure, form: Format) -> str:
    hint = f"; {form.crash}" if failure.died and form.crash else ""
    return f"its runtime says: {failure}{hint}"


def _check_signatures(description: dict, signatures: Signatures, partly: bool) -> Check:
    found = description["signatures"]
    same = (set(found) >= set(signatures) if partly else set(found) == set(signatures)) and all(
        set(found[name]["inputs"]) == set(signature.inputs) and set(found[name]["outputs"]) == set(signature.outputs)
        for name, signature in signatures.items()
    )
    said = "; ".join(f"{n} from {list(f['inputs'])} to {list(f['outputs'])}" for n, f in found.items())
    return Check("signature", same, said or "none")


def _check_weights(artifact: Inspected, found: int, partly: bool) -> Check:
    """Compare the bytes that an artifact spends on weights with those that the network has.

    A converter folds norms and biases into the kernels before them, and stores equal arrays, or one number repeated,
    once or as that number; so only kernels count from below: arrays of two axes and more, each once.
    """
    values = [weight.numpy() for weight in _all_weights(artifact.signatures)]
    share = artifact.variant.share
    least = int(share * _bytes_of_kernels(values))
    needed = int(share * sum(value.nbytes for value in values))
    held = artifact.path.stat().st_size if artifact.path.is_file() else found
    if least > held:  # is some of it never read, or folded?
        least = int(share * _bytes_of_kernels([weight.numpy() for weight in _needed_weights(artifact.signatures)]))
    factor = _MOST_ROUNDED_BYTES if artifact.variant.rounded else artifact.form.most_weight_bytes
    small = _SMALL + _OF_A_VARIABLE * len(values)
    most = float("inf") if factor is None or (partly and not artifact.variant.rounded) else factor * needed + small
    said = f"{found:,} bytes for weights of {needed:,} bytes, {least:,} of them in kernels"
    if artifact.variant.rounded and found > most:
        said += (
            f"; {artifact.variant.name} stores convolutions and dense layers in fewer bits, but most weights are "
            "others', such as an Embedding's or an LSTM's: take float16"
        )
    return Check("weights", least <= held and found <= most, said)


def _bytes_of_kernels(values: "list[np.ndarray]") -> int:
    kernels = {value.tobytes() for value in values if sum(s > 1 for s in value.shape) > 1 and np.ptp(value) > 0}
    return sum(map(len, kernels))


def _needed_weights(signatures: Signatures) -> "list[keras.Variable]":
    """Return the weights that networks read at inference, without the factors of LoRA, whose product is folded."""
    import tensorflow as tf

    read = set()
    for signature in signatures.values():
        if isinstance(signature, Signature):
            given = {name: tf.TensorSpec(info.shape, info.dtype) for name, info in signature.inputs.items()}
            traced = tf.function(signature.call).get_concrete_function(given)
            read |= {variable.ref() for variable in traced.variables}
    kept = (weight for weight in _all_weights(signatures) if "lora_" not in weight.name)
    return [weight for weight in kept if weight.value.ref() in read]


def _all_weights(signatures: Signatures) -> "list[keras.Variable]":
    """Return the weights of all networks, each once."""
    models = [s.model for s in signatures.values() if isinstance(s, Signature)]
    return list({id(weight): weight for model in models for weight in model.weights}.values())


def _comparable(outputs: Arrays, expected: Arrays) -> Arrays:
    """Return outputs as a client compares them: pictures, not the bytes of PNG files."""
    return {n: decoded(v) if v.dtype.kind == "S" and expected[n].ndim == 4 else v for n, v in outputs.items()}


def _check_parity(
    variant: Variant, outputs: Arrays, keras: Arrays, float32: Arrays | None
) -> tuple[float, list[Check]]:
    finite = all(np.isfinite(value).all() for value in outputs.values())
    shapes = all(outputs[name].shape == keras[name].shape for name in keras)
    filled = all(value.size for value in keras.values())
    if not finite or not shapes or not filled:
        found = "outputs of another shape than Keras'" if not shapes else "an output without any number"
        found = found if finite else "NaN or infinity in the output"
        return float("inf"), [Check("finite", False, found)]
    if not all(np.isfinite(value).all() for value in keras.values()):
        return float("inf"), [
            Check("finite", False, "NaN or infinity in what Keras gives: look at weights and inputs")
        ]
    difference = max(greatest_difference(outputs[name], keras[name]) for name in keras)
    every = Check("finite", True, "all outputs are finite")
    if variant.least_psnr is not None:
        near_to = keras if float32 is None else float32
        quality = min(psnr(outputs[name], near_to[name]) for name in keras)
        found = f"{quality:.1f} dB from the float32 form (least {variant.least_psnr:.0f} dB)"
        return difference, [every, Check("parity", quality >= variant.least_psnr, found)]
    limits = {name: limit(value) for name, value in keras.items()}
    near = all(greatest_difference(outputs[n], keras[n]) <= limits[n] for n in keras)
    whole = all(value.dtype == np.uint8 for value in keras.values())
    found = f"differs from Keras by {difference:.1e} (limit {max(limits.values()):.0e})"
    found = f"differs from Keras by {difference:.0f} levels (limit {LEVELS})" if whole else found
    return difference, [every, Check("parity", near, found)]


def _check_bias(variant: Variant, found: Arrays, float32: Arrays, again: "Again | None", axis: int) -> Check:
    """Compare the systematic part of a rounded variant's error with its noise: see `bias` and `inspect`."""
    assert variant.least_psnr is not None  # it is rounded
    shares = []
    for name, exact in float32.items():
        value = found[name].astype("float64")
        if again is None:
            error = noise = value - exact
            negligible = NEGLIGIBLE * peak(exact) * 10 ** (-variant.least_psnr / 20)
        else:
            error, noise = value - again.outputs[name], again.outputs[name].astype("float64") - exact
            negligible = TOLERANCE * max(1.0, float(np.abs(exact).max(initial=0)))
        shares.append(bias(error, exact, noise, negligible, axis))
    most = MOST_BIAS_AGAIN if again is not None and again.same else MOST_BIAS
    share, chance = max(shares, key=lambda pair: pair[0] - pair[1])
    said = f"the systematic part of its error is {f'{share:.2f} of its noise' if share else 'negligible'}"
    said = f"{said} (limit {most + chance:.2f})"
    return Check("bias", share <= most + chance, said)


def tolerance_text(variant: Variant, pictures: bool) -> str:
    """Return how near to Keras an artifact is, in words."""
    exact = f"at most {LEVELS} level of 255" if pictures else f"at most {TOLERANCE:.0e}, relative to values above 1"
    if variant.rounded:
        return f"at least {variant.least_psnr:.0f} dB PSNR from a float32 form that is {exact} from Keras"
    return exact
