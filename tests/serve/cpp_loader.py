"""TensorFlow's C++ loader, which TensorFlow Serving is built on, by ctypes: this process never imports tensorflow.

    python cpp_loader.py LIBRARY_FOLDER SAVED_MODEL REQUESTS.json ANSWERS.npz

REQUESTS is a list of {"feeds": {"name:0": array or list of base64}, "dtypes": {"name:0": dtype}, "fetches": [...]}.
Prints one line a request: its status code and message; ANSWERS holds the outputs as "REQUEST/FETCH".
"""

import base64
import ctypes
import json
import sys
from ctypes import c_char_p, c_int, c_int64, c_size_t, c_void_p
from math import prod
from pathlib import Path

import numpy as np

TYPES = {"float32": 1, "int32": 3, "uint8": 4, "string": 7}
NAMES = {number: name for name, number in TYPES.items()}
STRING_BYTES = 24  # of a TF_TString


class Output(ctypes.Structure):
    _fields_ = (("operation", c_void_p), ("index", c_int))


def library(folder: str) -> ctypes.CDLL:
    ctypes.CDLL(str(Path(folder) / "libtensorflow_framework.so.2"), ctypes.RTLD_GLOBAL)
    tf = ctypes.CDLL(str(Path(folder) / "libtensorflow_cc.so.2"), ctypes.RTLD_GLOBAL)
    for name in ("NewStatus", "NewGraph", "NewSessionOptions", "LoadSessionFromSavedModel", "GraphOperationByName"):
        getattr(tf, f"TF_{name}").restype = c_void_p
    for name in ("AllocateTensor", "TensorData", "StringGetDataPointer"):
        getattr(tf, f"TF_{name}").restype = c_void_p
    tf.TF_Message.restype = c_char_p
    for name in ("Dim", "TensorByteSize", "StringGetSize"):
        getattr(tf, f"TF_{name}").restype = c_size_t
    return tf


class Session:
    def __init__(self, folder: str, saved_model: str):
        self.tf, self.graph = library(folder), None
        self.status = c_void_p(self.tf.TF_NewStatus())
        self.graph = c_void_p(self.tf.TF_NewGraph())
        options, tags = c_void_p(self.tf.TF_NewSessionOptions()), (c_char_p * 1)(b"serve")
        self.session = c_void_p(
            self.tf.TF_LoadSessionFromSavedModel(
                options, None, saved_model.encode(), tags, 1, self.graph, None, self.status
            )
        )
        assert self.tf.TF_GetCode(self.status) == 0, self.tf.TF_Message(self.status)

    def run(self, feeds: dict, dtypes: dict, fetches: list) -> tuple[int, str, dict]:
        values = (c_void_p * len(feeds))(*(self.tensor(value, dtypes[name]) for name, value in feeds.items()))
        results = (c_void_p * len(fetches))()
        self.tf.TF_SessionRun(
            *(self.session, None, self.outputs(feeds), values, c_int(len(feeds))),
            *(self.outputs(fetches), results, c_int(len(fetches)), None, 0, None, self.status),
        )
        code, said = self.tf.TF_GetCode(self.status), self.tf.TF_Message(self.status).decode()
        found = {} if code else {name: self.array(c_void_p(t)) for name, t in zip(fetches, results, strict=True)}
        for tensor in [*values, *results]:
            if tensor:
                self.tf.TF_DeleteTensor(c_void_p(tensor))
        return code, said, found

    def outputs(self, names: list) -> ctypes.Array:
        pairs = [name.split(":") for name in names]
        found = [c_void_p(self.tf.TF_GraphOperationByName(self.graph, op.encode())) for op, _ in pairs]
        return (Output * len(pairs))(*(Output(o, int(i)) for o, (_, i) in zip(found, pairs, strict=True)))

    def tensor(self, value: list, dtype: str) -> int:
        files = [base64.b64decode(item) for item in value] if dtype == "string" else []
        array = None if dtype == "string" else np.asarray(value, dtype)
        shape = (len(files),) if dtype == "string" else array.shape
        size = STRING_BYTES * len(files) if dtype == "string" else array.nbytes
        dims = (c_int64 * max(1, len(shape)))(*shape)
        made = self.tf.TF_AllocateTensor(TYPES[dtype], dims, c_int(len(shape)), c_size_t(size))
        data = self.tf.TF_TensorData(c_void_p(made))
        if array is not None and size:
            ctypes.memmove(data, array.ctypes.data, size)
        for i, file in enumerate(files):
            self.tf.TF_StringInit(c_void_p(data + i * STRING_BYTES))
            self.tf.TF_StringCopy(c_void_p(data + i * STRING_BYTES), file, c_size_t(len(file)))
        return made

    def array(self, tensor: c_void_p) -> np.ndarray:
        shape = [self.tf.TF_Dim(tensor, c_int(axis)) for axis in range(self.tf.TF_NumDims(tensor))]
        dtype, data = NAMES[self.tf.TF_TensorType(tensor)], self.tf.TF_TensorData(tensor)
        if dtype != "string":
            return np.frombuffer(
                ctypes.string_at(data, self.tf.TF_TensorByteSize(tensor)), dtype, prod(shape)
            ).reshape(shape)
        items = [c_void_p(data + i * STRING_BYTES) for i in range(prod(shape))]
        return np.array(
            [ctypes.string_at(self.tf.TF_StringGetDataPointer(i), self.tf.TF_StringGetSize(i)) for i in items], "S"
        )


def main(folder: str, saved_model: str, requests: str, answers: str) -> None:
    session, arrays = Session(folder, saved_model), {}
    for i, request in enumerate(json.loads(Path(requests).read_text())):
        code, said, found = session.run(**request)
        arrays |= {f"{i}/{name}": value for name, value in found.items()}
        print(json.dumps({"code": code, "said": said}), flush=True)
    np.savez(answers, **arrays)
    assert not [name for name in sys.modules if name.split(".")[0] in ("tensorflow", "keras", "kerasgen")]


if __name__ == "__main__":
    main(*sys.argv[1:])
