"""Real inputs that show a quantizer how large each activation becomes."""

import hashlib
import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from kerasgen.errors import UserError, a_kind

from ..gate.runtime import Arrays
from .format import Variant
from .inputs import check_inputs, fixed_batch
from .signature import Signature
from .spec import ImageSpec

# More tell a quantizer nothing new, and a dataset that repeats would never end.
_MOST = 1024


@dataclass(frozen=True)
class Calibration:
    """The examples that a quantizer measures activations on.

    Attributes:
        examples: each a batch of one, by input name.
        sha256: of all their values in order; the same however they were batched.
    """

    examples: list[Arrays]
    sha256: str

    def describe(self) -> dict[str, object]:
        """Return what the manifest records."""
        return {"examples": len(self.examples), "sha256": self.sha256}

    def sent_to(self, signature: Signature) -> "Calibration":
        """Return the examples as a client sends them to this signature."""
        return Calibration([signature.examples(example) for example in self.examples], self.sha256)

    def batch(self, most: int) -> Arrays:
        """Return the first examples as one batch."""
        some = self.examples[:most]
        return {name: np.concatenate([example[name] for example in some]) for name in some[0]}


def read_calibration(
    signature: Signature, variant: Variant, given: object, inputs: Arrays | None, image: ImageSpec | None = None
) -> Calibration | None:
    """Return the examples that the user gave for a variant, or None where it needs none.

    Args:
        signature: the network's own.
        variant: one of the format's.
        given: a batch (an array, list, or dict by input name), or an iterable of batches such as a tf.data.Dataset.
        inputs: the batch to compare on, whose sizes the examples must have; None allows any one size.
        image: what uint8 pictures are inside the network.

    Raises:
        UserError: the variant needs examples and got none, or needs none and got some, or they don't fit.
    """
    if not variant.calibrated:
        if given is not None:
            raise UserError(
                f"Calibration was given, but the variant {variant.name!r} measures no activations: "
                "leave it out, or export one that does, such as static_int8."
            )
        return None
    if (fixed_batch(signature) or 1) > 1:
        raise UserError(
            f"{variant.name} measures one example after the other, but the network takes {fixed_batch(signature)} at "
            "once: make its Input without a batch_size."
        )
    if given is None:
        names = ", ".join(signature.inputs)
        raise UserError(
            f"{variant.name} measures the activations on real inputs and received none: pass calibration=, a batch "
            f"or a dataset of batches of about 100 examples of {names} such as the network will see."
        )
    examples = list(itertools.islice(_examples(signature, given, image), _MOST + 1))
    if not examples:
        raise UserError("Calibration holds no example: give about 100 real ones.")
    if len(examples) > _MOST:
        raise UserError(
            f"Calibration holds more than {_MOST} examples, or repeats without end: give about 100, "
            "such as dataset.unbatch().take(100).batch(10)."
        )
    _check_sizes(examples, examples[0] if inputs is None else inputs)
    return Calibration(examples, _digest(examples))


def refuse_without_weights(variant: str, operators: Iterable[str], roundable: Iterable[str]) -> None:
    """Raise `UserError` if none of a graph's operators has weights that an 8-bit variant stores in 8 bits."""
    if not set(operators) & set(roundable):
        raise UserError(
            f"{variant} stores the weights of convolutions and dense layers in 8 bits, but this network has none: "
            "export it as float32 or float16."
        )


def _examples(signature: Signature, given: object, image: ImageSpec | None) -> Iterator[Arrays]:
    single = len(signature.inputs) == 1
    for batch in _batches(given, single):
        # For one input, a dataset may give what `fit` takes: the input, targets and weights, in a tuple.
        if single and (isinstance(batch, tuple) or (isinstance(batch, list) and len(batch) == 1)):
            batch = batch[0]
        arrays = check_inputs(signature, batch, image)
        for i in range(len(next(iter(arrays.values())))):
            yield {name: array[i : i + 1] for name, array in arrays.items()}


def _batches(given: object, single: bool) -> Iterable[object]:
    """Return what was given as batches; it may be a single one itself, but for a list of arrays for one input."""
    if single and isinstance(given, list) and given and all(hasattr(part, "shape") for part in given):
        return given
    if isinstance(given, (Mapping, list, tuple)) or hasattr(given, "shape"):
        return [given]
    if not isinstance(given, Iterable):
        raise UserError(
            f"Calibration is {a_kind(given)}: give a batch of real inputs (an array, list or dict by name), "
            "or an iterable of batches."
        )
    return given


def _check_sizes(examples: list[Arrays], wanted: Arrays) -> None:
    for example in examples:
        for name, array in example.items():
            if array.shape[1:] != wanted[name].shape[1:]:
                raise UserError(
                    f"A calibration example of {name!r} has the shape {array.shape[1:]}, but the inputs to export "
                    f"for have {wanted[name].shape[1:]}: give all of them one size."
                )


def _digest(examples: list[Arrays]) -> str:
    digest = hashlib.sha256()
    for example in examples:
        for name, array in sorted(example.items()):
            digest.update(f"{name} {array.dtype.str} {array.shape[1:]}\0".encode())
            digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
