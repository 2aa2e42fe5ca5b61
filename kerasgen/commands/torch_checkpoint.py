"""PyTorch's checkpoints, which anybody may have made: their weights are read, and nothing of them is run."""

import os
import pickle
import re
import zipfile
from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from kerasgen.errors import a_kind
from kerasgen.untrusted import MOST_NAME, MOST_TEXT, Fault, check_finite, check_room, checked_zip, reading

if TYPE_CHECKING:
    import torch

_MOST_NESTED = 50  # dots in the name of a tensor


def read_torch(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Return the weights of a state_dict that `torch.save` wrote, as float32 by name.

    Those of a dict in a dict, such as {"state_dict": …}, have the names of both, joined by a dot. Counters, texts and
    lists beside them are left out, and an array of NumPy is taken for a tensor.

    Raises:
        UserError: see `reading`; or it holds no tensors, or others than plain ones of finite numbers.
    """
    with reading(path, "a checkpoint of plain weights", "save a state_dict with torch.save") as file:
        if zipfile.is_zipfile(file):
            with checked_zip(file) as archive:
                if any(m.filename.endswith("data.pkl") and m.file_size > MOST_TEXT for m in archive.infolist()):
                    raise Fault(f"its structure takes more than {MOST_TEXT:,} bytes")
        elif _is_safetensors(file):
            raise Fault("it is of safetensors", "load it with safetensors.torch.load_file, save that with torch.save")
        content = _unpickled(file)
        if not isinstance(content, dict) or not content:
            raise Fault(f"it holds {a_kind(content)}, not a state_dict")
        arrays, wanted, size = {}, 0, os.fstat(file.fileno()).st_size
        for name, tensor in _tensors(content):
            wanted += 4 * tensor.numel()  # many may share the file's bytes
            check_room(size, wanted)
            arrays[name] = _plain_array(name, tensor)
        if not arrays:
            raise Fault("it holds no tensors by name")
        # A single number is a training's best score rather than a weight, and begins as infinity.
        check_finite({name: array for name, array in arrays.items() if array.ndim})
        return arrays


def _is_safetensors(file: BinaryIO) -> bool:
    """Return whether a file begins as theirs do: with the length of a JSON object, and that object."""
    file.seek(0)
    length, brace = int.from_bytes(file.read(8), "little"), file.read(1)
    return brace == b"{" and length < os.fstat(file.fileno()).st_size


class SavedObject:
    """Stands for an object of a checkpoint that is not a weight: nothing of it is kept."""

    def __init__(self, *_: object):
        pass

    def __setstate__(self, _: object) -> None:
        pass


class SavedDtype:
    """Stands for NumPy's dtype, whose own reading trusts what a pickle says of its memory."""

    def __init__(self, code: str, *_: object):
        self.code, self.order = code, "="

    def __setstate__(self, state: tuple) -> None:
        self.order = state[1]


class SavedArray:
    """Stands for NumPy's array, whose own reading trusts its dtype.

    Attributes:
        content: its real numbers; None if it holds something else.
    """

    content: np.ndarray | None = None

    def __init__(self, *_: object):
        pass

    def __setstate__(self, state: tuple) -> None:
        _, shape, dtype, by_columns, content = state
        code = f"{dtype.order}{dtype.code}"
        if re.fullmatch("[<>=|](f[248]|[iu][1248]|b1)", code) and isinstance(content, bytes):
            flat = np.frombuffer(content, code)
            array = flat.reshape(shape, order="F" if by_columns else "C")
            self.content = array.astype(flat.dtype.newbyteorder("="))


def _unpickled(file: BinaryIO) -> object:
    """Return what a checkpoint holds; nothing of it was run.

    Raises:
        Fault: it holds objects of other classes than a training's usual ones.
    """
    import torch

    stand_ins = [(SavedObject, "argparse.Namespace"), (SavedArray, "numpy.ndarray"), (SavedDtype, "numpy.dtype")]
    for module in ("numpy.core.multiarray", "numpy._core.multiarray"):  # before NumPy 2, and since
        stand_ins += [(SavedArray, f"{module}._reconstruct"), (SavedObject, f"{module}.scalar")]
    with torch.serialization.safe_globals(stand_ins):
        try:
            file.seek(0)
            return torch.load(file, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            if classes := _refused(file, str(error)):
                raise Fault(f"beside weights it holds {', '.join(classes)}, which may run code") from error
            raise Fault("it is damaged, or isn't PyTorch's") from error


def _refused(file: BinaryIO, said: str) -> list[str]:
    """Return the classes and functions of a checkpoint that PyTorch doesn't read; of an old one, the first."""
    import torch

    file.seek(0)
    if not zipfile.is_zipfile(file):
        return re.findall(r"GLOBAL (\S+) w", said)
    file.seek(0)
    return sorted(torch.serialization.get_unsafe_globals_in_checkpoint(file))


def _tensors(content: dict[object, object], prefix: str = "") -> Iterator[tuple[str, "torch.Tensor"]]:
    """Yield the tensors of nested dicts by their joined names; what else a training keeps is left out."""
    import torch

    for name, value in content.items():
        if not isinstance(name, str):
            continue  # an optimizer numbers its weights
        full = f"{prefix}{name}"
        if len(full) > MOST_NAME:
            raise Fault("a key is not a name")
        if isinstance(value, SavedArray) and value.content is not None:
            value = torch.from_numpy(value.content)
        if isinstance(value, torch.Tensor):
            yield full, value
        elif isinstance(value, dict) and full.count(".") < _MOST_NESTED:
            yield from _tensors(value, f"{full}.")


def _plain_array(name: str, tensor: "torch.Tensor") -> np.ndarray:
    import torch

    if tensor.layout != torch.strided or tensor.device.type != "cpu" or tensor.is_quantized or tensor.is_complex():
        raise Fault(f"{name!r} is not a plain tensor of real numbers")
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        raise Fault(f"{name!r} has the shape {tuple(tensor.shape)}, larger than its data")
    return tensor.detach().float().numpy()
