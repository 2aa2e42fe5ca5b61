"""One sentence for whatever a converter or a checker raises: which layer or operation, and the way out."""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING

from kerasgen.errors import UserError

from ..contract.format import Format

if TYPE_CHECKING:
    import keras
    import numpy as np

_MOST = 160  # characters of what a library said
# How the libraries name an operation that the format lacks, and where it stands in the graph.
_LACKING = (
    re.compile(r"'tf\.(?P<operation>\w+)' op is neither a custom op nor a flex op"),  # TensorFlow's TFLite converter
    re.compile(r"No Op registered for (?P<operation>\w+)"),  # ONNX' checker
    re.compile(r"Tensorflow op \[(?P<path>[^:\]]+): (?P<operation>\w+)\] is not supported"),  # tf2onnx
    re.compile(r"No conversion rule found for operations: (?P<operation>\w+)"),  # OpenVINO
)
_PATH = r'(?:"|Name: ){model}(?:_\d+)?/([\w./>-]*{operation}(?:_\d+)?)'
_IN_KERAS = re.compile(r"Exception encountered when calling (\w+)\.call\(\)\.\s*(.*)", re.DOTALL)
_STYLES = re.compile(r"\x1b\[\d+m")
_PLACE = re.compile(r"\{\{function_node [^}]*\}\}\s*")


def refusing(model: "keras.Model", form: Format) -> AbstractContextManager[None]:
    """Turn an exception of a library on the way from a model to a format into a `UserError`.

    Raises:
        UserError: something failed; the sentence names the layer and the operation where the library did.
    """
    return _worded(lambda error: explained(error, model, form))


def refusing_inputs(model: "keras.Model", inputs: "Mapping[str, np.ndarray]") -> AbstractContextManager[None]:
    """Turn an exception of a Keras model that computes on somebody's inputs into a `UserError`.

    Raises:
        UserError: it can't take them, such as pictures of a size that its levels don't divide.
    """
    shapes = ", ".join(f"{name} {list(array.shape)}" for name, array in inputs.items())

    def sentence(error: Exception) -> str:
        text = _STYLES.sub("", str(error))
        where, said = _in_keras(text, model) or (type(error).__name__, text)
        return f"{_name(model)!r} can't take these inputs, {shapes}: {where} says {_short(said)!r}; give others."

    return _worded(sentence)


@contextmanager
def _worded(sentence: Callable[[Exception], str]) -> Iterator[None]:
    try:
        yield
    except (UserError, OSError, MemoryError):
        raise
    except Exception as error:
        raise UserError(sentence(error)) from error


def explained(error: Exception, model: "keras.Model", form: Format) -> str:
    """Return the sentence about a failed conversion."""
    text = _STYLES.sub("", str(error))
    name = _name(model)
    start, other = f"{name!r} can't be exported to {form.title}: ", "or export it to another format"
    lacking = next((found for pattern in _LACKING if (found := pattern.search(text))), None)
    if lacking is not None:
        operation = lacking["operation"]
        where = _layer(model, lacking.groupdict().get("path") or _path(text, name, operation))
        return f"{start}{where} needs the operation {operation}, which {form.title} lacks; replace it, {other}."
    in_keras = _in_keras(text, model)
    if in_keras is not None:
        where, reason = in_keras
        return f"{start}{where} says {_short(reason)!r}; {_way_out(model, reason)}replace the layer, {other}."
    return f"{start}{type(error).__name__} says {_short(text)!r}; replace what that names, {other}."


def _name(model: "keras.Model") -> str:
    return getattr(model, "name", type(model).__name__)


def _in_keras(text: str, model: "keras.Model") -> tuple[str, str] | None:
    """Return which layer failed, in words, and what it says, if Keras named its class."""
    found = _IN_KERAS.search(text)
    if found is None:
        return None
    kind, reason = found.groups()
    names = [repr(layer.name) for layer in _layers(model) if type(layer).__name__ == kind]
    if not names:
        return f"a layer ({kind})", reason
    which = f"the layer {names[0]}" if len(names) == 1 else f"one of the layers {', '.join(names[:3])}"
    return f"{which} ({kind})", reason


def _short(text: str) -> str:
    line = next((line.strip() for line in _PLACE.sub("", text).splitlines() if line.strip()), "nothing")
    return line if len(line) <= _MOST else f"{line[:_MOST]}…"


def _way_out(model: "keras.Model", reason: str) -> str:
    shapes = [tensor.shape for tensor in getattr(model, "inputs", None) or []]
    if "NHWC" in reason:
        return "a channels_first network doesn't run on a CPU: build it channels_last, "
    if any(len(shape) == 4 and None in shape[1:3] for shape in shapes):
        return "its pictures may have any size, which this layer may not: give --size (ImageSpec(size=…)), "
    return ""


def _path(text: str, model: str, operation: str) -> str:
    found = re.search(_PATH.format(model=re.escape(model), operation=re.escape(operation)), text)
    return found[1] if found else ""


def _layer(model: "keras.Model", path: str) -> str:
    """Return the innermost layer on an operation's path in the graph, in words; Keras counts repeated names."""
    names = {layer.name for layer in _layers(model)}
    for part in reversed(path.split("/")[:-1]):
        for name in (part, re.sub(r"_\d+$", "", part)):
            if name in names:
                return f"the layer {name!r}"
    return f"{path.split('/')[0]!r} in the graph" if path else "it"


def _layers(model: "keras.Model") -> "list[keras.Layer]":
    flatten = getattr(model, "_flatten_layers", None)
    return [layer for layer in flatten() if layer is not model] if flatten else []
