"""What is read from outside is not trusted: files that anybody may have made, or that came damaged.

Nothing of them runs as code. What they declare is compared with what they hold before memory is taken for it, and
whatever is wrong becomes one `UserError` that names the file.
"""

import errno
import io
import json
import math
import os
import re
import stat
import threading
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, BinaryIO, cast

import numpy as np

from kerasgen.errors import UserError, a_kind, reason
from kerasgen.files import scratch
from kerasgen.keras_hooks import name_for_tensorflow
from kerasgen.memory import free_memory

if TYPE_CHECKING:
    import h5py
    import keras

MOST_TEXT = 8 * 2**20  # bytes of a JSON or a configuration; ResNet152's is 0.6 MB
_MOST_YAML = 2**17  # bytes, which are read in a second or two
_SMALL = 64 * 2**20  # bytes that may be taken for any file
_RATIO = 20  # times its own size that a larger file may take: weights hardly compress
MOST_NAME = 1000  # characters of a name in a file
_KERAS_PARTS = ("config.json", "model.weights.h5")  # of a .keras file
_SAVE_AGAIN = "save the model again with model.save"
_HDF5 = b"\x89HDF\r\n\x1a\n"
# Layers of which, or of a layer in them, Keras 2 writes more arguments than Keras 3 takes.
_MORE_IN_KERAS_2 = (
    *("Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose", "DepthwiseConv1D", "DepthwiseConv2D"),
    *("SeparableConv1D", "SeparableConv2D", "Bidirectional", "TimeDistributed"),
    *("RNN", "SimpleRNN", "LSTM", "GRU", "ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D"),
)
_BUILDING = threading.RLock()


class Fault(UserError):
    """What is wrong within a file, as a clause such as "it has no header": `reading` makes the sentence of it.

    Attributes:
        advice: what to do about this one; "" leaves it to the reader of the file.
    """

    def __init__(self, message: str, advice: str = ""):
        super().__init__(message)
        self.advice = advice


# -- any file -----------------------------------------------------------------------------------------------


def open_regular(path: str | os.PathLike) -> BinaryIO:
    """Open a regular file to read its bytes; a pipe or a device, which may never end, is refused.

    Raises:
        OSError: it is something else, or can't be opened.
    """
    # Without O_NONBLOCK, opening a pipe waits for somebody who writes into it.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file", str(path))
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


@contextmanager
def reading(path: str | os.PathLike, kind: str, advice: str) -> Iterator[BinaryIO]:
    """Open a file; whatever fails in the body, while it is taken apart, becomes one sentence.

    Args:
        path: of the file.
        kind: what it should be, such as "a checkpoint".
        advice: what to do, such as "train again".

    Raises:
        UserError: it is missing, or the body failed.
    """
    try:
        with open_regular(path) as file:
            yield file
    except FileNotFoundError:
        raise UserError(f"There is no file {path}: give the path of {kind}.") from None
    except UserError as error:
        advice = (error.advice if isinstance(error, Fault) else "") or advice
        raise UserError(f"{path} can't be read as {kind} ({str(error).rstrip('.')}): {advice}.") from error
    except MemoryError as error:
        raise UserError(f"{path} needs more memory than there is: {advice}.") from error
    except Exception as error:  # the readers of others raise two dozen types over damaged files
        raise UserError(f"{path} can't be read as {kind} ({reason(error)}): {advice}.") from error


def read_text(path: str | os.PathLike, kind: str, advice: str, most: int = MOST_TEXT) -> str:
    """Return a text of UTF-8, of at most so many bytes.

    Raises:
        UserError: see `reading`; or it is longer.
    """
    with reading(path, kind, advice) as file:
        content = file.read(most + 1)
        if len(content) > most:
            raise Fault(f"it is longer than {most:,} bytes")
        return content.decode()


def read_json(path: str | os.PathLike, schema: object, kind: str, advice: str) -> dict[str, object]:
    """Return an object of a JSON file.

    Args:
        path: of the file.
        schema: what it must hold; see `checked`.
        kind, advice: see `reading`.

    Raises:
        UserError: see `reading`; or it doesn't fit the schema.
    """
    text = read_text(path, kind, advice)
    with reading(path, kind, advice):
        return cast("dict[str, object]", checked(parse_json(text), schema))


def read_yaml(path: str | os.PathLike, kind: str, advice: str) -> dict[str, object]:
    """Return the mapping of a YAML file, whose keys are texts.

    Args:
        path: of the file.
        kind, advice: see `reading`.

    Raises:
        UserError: see `reading`; or it holds something else, or refers to itself, which can grow without end.
    """
    import yaml

    text = read_text(path, kind, advice, _MOST_YAML)
    with reading(path, kind, advice):
        if any(isinstance(token, yaml.AliasToken) for token in yaml.scan(text, Loader=yaml.SafeLoader)):
            raise Fault("it refers to parts of itself")
        found = yaml.load(text, Loader=_yaml_loader())  # a safe one
        if not isinstance(found, dict) or not all(isinstance(name, str) for name in found):
            raise Fault("it doesn't hold values by name")
        return found


def _yaml_loader() -> type:
    """Return PyYAML's safe loader, which takes 1e-4 for a number too, as YAML 1.2 does."""
    import yaml

    class Loader(yaml.SafeLoader):
        pass

    number = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$")
    Loader.add_implicit_resolver("tag:yaml.org,2002:float", number, list("-+.0123456789"))
    return Loader


def parse_json(text: str | bytes) -> object:
    """Return the value of a JSON text, which may be nested too deeply.

    Raises:
        ValueError: it isn't JSON.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def checked(value: object, schema: object, at: str = "it") -> object:
    """Return a JSON value that fits a schema.

    Args:
        value: of `json.loads`.
        schema: a type; a tuple of schemas, one of which must fit; a list of one schema, for every element; or a dict
            of schemas by name, which must be there unless the name ends with "?" (others may be too). None fits
            None, and an int fits float.
        at: what a sentence calls it.

    Raises:
        UserError: it doesn't.
    """
    if isinstance(schema, dict):
        if not isinstance(value, dict):
            raise Fault(f"{at} is {_said(value)}, not an object")
        for key, inner in schema.items():
            name = key.removesuffix("?")
            if name in value:
                checked(value[name], inner, name)
            elif name == key:
                raise Fault(f"{at} has no {name!r}")
    elif isinstance(schema, list):
        if not isinstance(value, list):
            raise Fault(f"{at} is {_said(value)}, not a list")
        for element in value:
            checked(element, schema[0], f"an element of {at}")
    elif isinstance(schema, tuple):
        if not any(_fits(value, inner) for inner in schema):
            raise Fault(f"{at} is {_said(value)}")
    elif not _fits(value, schema):
        raise Fault(f"{at} is {_said(value)}, not {schema.__name__ if isinstance(schema, type) else schema}")
    return value


def _fits(value: object, schema: object) -> bool:
    if isinstance(schema, dict | list | tuple):
        try:
            checked(value, schema)
        except UserError:
            return False
        return True
    if schema is None or isinstance(value, bool):
        return value is schema or schema is type(value)
    if schema is float:
        return isinstance(value, int | float)
    return isinstance(value, cast("type", schema))


def _said(value: object) -> str:
    return repr(value)[:40] if isinstance(value, int | float | bool | None) else type(value).__name__


# -- what a file may take -----------------------------------------------------------------------------------


def check_room(size: int, wanted: int) -> None:
    """Raise `UserError` if a file of `size` bytes asks for more memory than its like needs, or than there is.

    Args:
        size: of the file, in bytes.
        wanted: bytes that what it declares would take.
    """
    if wanted > _SMALL + _RATIO * size:
        raise Fault(f"its {size:,} bytes ask for {wanted:,} bytes of memory")
    if wanted > (free := free_memory()):
        raise Fault(f"it asks for {wanted:,} bytes of memory, and {free:,} are free")


def checked_zip(file: BinaryIO) -> zipfile.ZipFile:
    """Open an archive whose members, taken together, don't unpack to more than they may."""
    archive = zipfile.ZipFile(file)
    check_room(os.fstat(file.fileno()).st_size, sum(member.file_size for member in archive.infolist()))
    return archive


# -- NumPy --------------------------------------------------------------------------------------------------


def read_npz(
    path: str | os.PathLike, schema: object, kind: str, advice: str
) -> tuple[dict[str, object], dict[str, np.ndarray]]:
    """Return what the JSON in the array "header" of an .npz file says, and the other arrays by name.

    Args:
        path: of the file.
        schema: of the header; see `checked`.
        kind, advice: see `reading`.

    Raises:
        UserError: see `reading`; or an array is pickled, or says that it is larger than it is.
    """
    with reading(path, kind, advice) as file, checked_zip(file) as archive:
        found = {}
        for member in archive.infolist():
            with archive.open(member) as stream:
                _check_header(stream, member.file_size)
            with archive.open(member) as stream:
                found[member.filename.removesuffix(".npy")] = np.lib.format.read_array(stream, allow_pickle=False)
        header = found.pop("header", None)
        if header is None or header.dtype.kind != "U" or header.size != 1:
            raise Fault("it has no header")
        said = checked(parse_json(str(header)), schema, "its header")
        return cast("dict[str, object]", said), found


def _check_header(stream: IO[bytes], size: int) -> None:
    version = np.lib.format.read_magic(stream)
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in readers:
        raise Fault(f"an array has the unknown version {version}")
    shape, _, dtype = readers[version](stream)
    if dtype.hasobject:
        raise Fault("an array holds pickled objects")
    if not dtype.itemsize:
        raise Fault(f"an array's numbers, {dtype}, have no bytes")
    if any(length < 0 for length in shape) or math.prod(shape) * dtype.itemsize != size - stream.tell():
        raise Fault(f"an array of {size} bytes says that its shape is {str(shape)[:60]} of {dtype}")


# -- Keras --------------------------------------------------------------------------------------------------


def load_keras(path: str | os.PathLike) -> "keras.Model":
    """Return the model of a .keras file, or of an .h5 file of Keras 2; import what registers its classes before.

    Its name may end otherwise. A loss or an optimizer that is unknown here is left out with a warning.

    Raises:
        UserError: see `reading`; it brings code of its own, is larger than it may be, or holds NaN or infinity.
    """
    with reading(path, "a Keras model", _SAVE_AGAIN) as file:
        model = _built(path, _declared_elements(file))
    return _with_finite_weights(model, path)


def load_keras_folder(folder: Path) -> "keras.Model":
    """Return the model of a folder that holds what a .keras file does, as Keras puts it on Hugging Face.

    Raises:
        UserError: see `load_keras`; its files are other ones.
    """
    config, weights = (folder / name for name in _KERAS_PARTS)
    kind = "the configuration of a Keras model"
    read_json(config, {"class_name": str}, kind, _SAVE_AGAIN)
    elements = count_weights(weights)
    with reading(config, kind, _SAVE_AGAIN):
        model = _built(folder, elements)
    return _with_finite_weights(model, folder)


def _built(path: str | os.PathLike, elements: int) -> "keras.Model":
    """Let Keras make the model of a file or a folder that holds so many numbers."""
    try:
        return _loaded(path, elements, compiled=True)
    except Exception as error:  # a loss that isn't known here may raise anything
        first = error
    try:
        model = _loaded(path, elements, compiled=False)
    except Exception:
        raise first from first.__cause__
    warnings.warn(
        f"{path} is loaded without its loss, metrics and optimizer, which can't be read ({reason(first)}): compile "
        "the model before you fit it.",
        stacklevel=4,
    )
    return model


def _loaded(path: str | os.PathLike, elements: int, compiled: bool) -> "keras.Model":
    import keras

    with bounded_weights(elements), _named_by_kind(path) as named:
        try:
            model = keras.models.load_model(named, _layers_of_keras_2(), compile=compiled, safe_mode=True)
        except UserError:
            raise
        except (TypeError, ValueError) as error:
            raise _said_by_keras(error) from error
    if not isinstance(model, keras.Model):
        raise Fault(f"it holds {a_kind(model)}")
    name_for_tensorflow(model)
    return model


@contextmanager
def _named_by_kind(path: str | os.PathLike) -> Iterator[Path]:
    """Give a path to a file that ends as its kind does: Keras goes by the name, this by the first bytes."""
    path = Path(path)
    if path.is_dir():
        yield path
        return
    with open_regular(path) as file:
        ending = ".h5" if file.read(len(_HDF5)) == _HDF5 else ".keras"
    if path.name.endswith(ending):
        yield path
        return
    with scratch() as folder:
        link = folder / f"model{ending}"
        link.symlink_to(path.absolute())
        yield link


def _layers_of_keras_2() -> dict[str, type]:
    """Return, by the names of layers, what makes them from configurations that Keras 2 wrote, too."""
    import keras

    def reader(name: str) -> type:
        class Reader:
            @classmethod
            def from_config(cls, config: Mapping[str, object]) -> "keras.Layer":
                return getattr(keras.layers, name).from_config(_as_keras_3_takes_it(name, config))

        return Reader

    return {name: reader(name) for name in _MORE_IN_KERAS_2}


def _as_keras_3_takes_it(layer: str, config: Mapping[str, object]) -> dict[str, object]:
    """Return a layer's configuration without what says nothing; that of a layer inside, too."""
    found = {key: value for key, value in config.items() if not _says_nothing(layer, key, value)}
    for key, value in found.items():
        if isinstance(value, dict) and isinstance(value.get("config"), dict):
            found[key] = value | {"config": _as_keras_3_takes_it(str(value.get("class_name")), value["config"])}
    return found


def _says_nothing(layer: str, name: str, value: object) -> bool:
    """Return whether Keras 2 writes an argument of a layer without a meaning; Keras 3 refuses it."""
    if layer.startswith("Separable") and name in ("kernel_initializer", "kernel_regularizer", "kernel_constraint"):
        return True  # it has those of its depthwise and its pointwise kernel
    return (name == "groups" and value == 1) or (name == "time_major" and value is False)


def _with_finite_weights(model: "keras.Model", path: str | os.PathLike) -> "keras.Model":
    import keras

    arrays = [(variable.path, keras.ops.convert_to_numpy(variable)) for variable in model.weights]
    try:
        # Two networks of a model may have weights of one path.
        check_finite({f"weight {i}, {name}": array for i, (name, array) in enumerate(arrays)})
    except Fault as fault:
        raise UserError(f"{path} can't be used ({fault}): take the model of an earlier epoch.") from fault
    return model


def count_weights(path: str | os.PathLike) -> int:
    """Return how many numbers an .h5 file of weights holds, after a look at all sizes that it declares.

    Raises:
        UserError: see `reading`; it links to other files, or declares more than it holds.
    """
    with reading(path, "trained weights", "copy or install them again") as file:
        return _declared_elements(file)


def _said_by_keras(error: Exception) -> Fault:
    """Return what is wrong with a file by Keras' error, which quotes whole configurations."""
    text = str(error)[:4000]
    if "Lambda" in text and "safe_mode" in text:
        return Fault(
            "its Lambda layer is code, and code from a file is not run", "use a layer of keras.layers instead"
        )
    if re.search(r"module keras\.(src\.)?engine\.", text):
        return Fault("it is from Keras 2, whose .keras files Keras 3 can't read", "save it there as .h5")
    if "No model config found" in text:
        return Fault("it holds weights without their network", "save the whole model with model.save")
    if found := re.search(r"Could not locate (?:class|function) '([^']{1,80})'", text):
        return Fault(f"{found[1]!r} is not registered here: import what defines it before, from Python")
    return Fault(reason(error))


def check_finite(arrays: Mapping[str, np.ndarray]) -> None:
    """Raise `UserError` if one of the arrays holds NaN or infinity."""
    for name, array in arrays.items():
        if array.dtype.kind not in "fV":  # V is bfloat16
            continue
        if not np.isfinite(array.astype(np.float32) if array.dtype.kind == "V" else array).all():
            raise Fault(f"{name[:MOST_NAME]} holds NaN or infinity")


def _declared_elements(file: BinaryIO) -> int:
    """Return how many numbers a file's weights hold, after a look at all sizes that it declares."""
    import h5py

    size = os.fstat(file.fileno()).st_size
    if file.read(len(_HDF5)) == _HDF5:
        with h5py.File(file, "r") as weights:
            return _elements(weights, size)
    with checked_zip(file) as archive:
        for name in _KERAS_PARTS:
            if name not in archive.namelist():
                raise Fault(f"it holds no {name}")
        if archive.getinfo("config.json").file_size > MOST_TEXT:
            raise Fault(f"its config.json is longer than {MOST_TEXT:,} bytes")
        parse_json(archive.read("config.json"))
        with archive.open("model.weights.h5") as member:
            stored = archive.getinfo("model.weights.h5").compress_type == zipfile.ZIP_STORED
            with h5py.File(member if stored else io.BytesIO(member.read()), "r") as weights:
                return _elements(weights, size)


def _elements(weights: "h5py.File", size: int) -> int:
    """Return how many numbers the data sets hold that lie in this file itself."""
    import h5py

    total = elements = 0
    seen: set[int] = set()  # groups that hold each other twice have a number of paths without end

    def visit(group: "h5py.Group") -> None:
        nonlocal total, elements
        for name in group:
            link = group.get(name, getlink=True)
            if not isinstance(link, h5py.HardLink):
                raise Fault("it links to another file")
            item = group[name]
            if isinstance(item, h5py.Group):
                place = h5py.h5o.get_info(item.id).addr
                if place in seen:
                    raise Fault("a part of it has two names")
                seen.add(place)
                visit(item)
            elif item.is_virtual or item.external:
                raise Fault("it links to another file")
            else:  # under each of its names it is read anew
                total, elements = total + item.nbytes, elements + item.size
                check_room(size, total)

    visit(weights)
    return elements


@contextmanager
def bounded_weights(elements: int) -> Iterator[None]:
    """Let layers have no more weights than a file brings: a configuration of a line may ask for a terabyte.

    Keras makes all weights before it reads any, and every layer makes its own by `add_weight`.
    """
    import keras

    made, here = 0, threading.get_ident()

    def add_weight(layer: "keras.Layer", shape: object = None, *args: object, **options: object) -> object:
        nonlocal made
        if threading.get_ident() != here:
            return original(layer, shape, *args, **options)
        made += math.prod(shape) if isinstance(shape, list | tuple) else 1
        if made > elements + _SMALL // 4:
            raise Fault(f"its layers have more weights than the {elements:,} that it holds")
        return original(layer, shape, *args, **options)

    with _BUILDING:  # one at a time: the method is every thread's
        original, keras.Layer.add_weight = keras.Layer.add_weight, add_weight
        try:
            yield
        finally:
            keras.Layer.add_weight = original
