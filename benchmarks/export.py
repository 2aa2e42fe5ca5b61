"""Our artifacts beside those of Keras' own `model.export`, for one generator, in one interleaved run.

    python benchmarks/export.py [--json FILE]

The network is the usual one: resnet generator, GroupNormalization(-1) and reflection padding, 0.5 M parameters,
128 x 128 pixels, batch 1, one thread. Latencies are ratios to Keras' float32 artifact of the same format. Ratios
carry over to machines of the same kind, milliseconds don't; on a CPU with AVX2 and no VNNI, 8 bits are no faster than
float32. The sizes and the seconds of an export are those of 2 M parameters.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import keras
import numpy as np
import onnx
import onnxruntime
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from keras import layers
from peers import machine, write_json

from kerasgen.export import export_model
from kerasgen.export.contract.inputs import network_and_inputs
from kerasgen.export.formats import registry as _formats
from kerasgen.layers import InstanceNormalization
from kerasgen.networks import resnet_generator

SIZE, ROUNDS, RUNS = 128, 15, 5


def usual_generator(filters: int = 16) -> keras.Model:
    """The generator as a Keras user writes it."""

    def usual(layer: keras.Layer) -> keras.Layer:
        if isinstance(layer, InstanceNormalization):
            return layers.GroupNormalization(-1, epsilon=layer.epsilon, scale=False, center=False, name=layer.name)
        return layer

    image = keras.Input((SIZE, SIZE, 3), name="image")
    return keras.models.clone_model(resnet_generator(filters=filters, blocks=6), image, clone_function=usual)


def latencies(model: keras.Model, picture: np.ndarray, folder: Path) -> list[dict]:
    """Size, graph and latency of each artifact that runs in LiteRT or ONNX Runtime."""
    rows, paths = [], []
    for kind, own in (("tflite", "litert"), ("onnx", "onnx")):
        path = folder / f"keras.{kind}"
        model.export(str(path), format=own, verbose=False)
        rows.append({"by": "keras", "format": kind, "variant": "float32"})
        paths.append(path)
        for variant in ("float32", "float16", "dynamic_int8"):
            rows.append({"by": "kerasgen", "format": kind, "variant": variant})
            options = {"layout": "nchw"} if kind == "onnx" else {}
            paths.append(export_model(model, folder / "ours", kind, variant, inputs=picture, **options).path)
    paths.append(keras_dynamic_int8(model, folder / "keras.dynamic_int8.tflite"))
    rows.append({"by": "keras", "format": "tflite", "variant": "dynamic_int8"})
    times = interleaved([runner(path, picture) for path in paths])
    base = {row["format"]: t for row, t in zip(rows, times, strict=True) if _is_base(row)}
    for row, path, (median, least) in zip(rows, paths, times, strict=True):
        median_base, least_base = base[row["format"]]
        row |= {"bytes": path.stat().st_size, "ms": median, "ratio": median / median_base}
        row |= {"least_ms": least, "least_ratio": least / least_base} | graph_of(path)
    return rows


def _is_base(row: dict) -> bool:
    return row["by"] == "keras" and row["variant"] == "float32"


def keras_dynamic_int8(model: keras.Model, path: Path) -> Path:
    """What Keras' own export and TensorFlow's converter make with the usual flag."""
    model.export(str(path.with_suffix("")), verbose=False)
    converter = tf.lite.TFLiteConverter.from_saved_model(str(path.with_suffix("")))
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    path.write_bytes(converter.convert())
    return path


def interleaved(runs: list[Callable[[], object]]) -> list[tuple[float, float]]:
    """Median and least milliseconds of each, run in turns, so that a busy moment of the machine falls on all."""
    times = [[] for _ in runs]
    for _ in range(ROUNDS):
        for run, taken in zip(runs, times, strict=True):
            for _ in range(RUNS):
                start = time.perf_counter()
                run()
                taken.append(time.perf_counter() - start)
    return [(1000 * statistics.median(taken), 1000 * min(taken)) for taken in times]


def runner(path: Path, picture: np.ndarray) -> Callable[[], object]:
    if path.suffix == ".onnx":
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        taken = session.get_inputs()[0]
        sent = np.ascontiguousarray(picture.transpose(0, 3, 1, 2)) if taken.shape[1] == 3 else picture
        return lambda: session.run(None, {taken.name: sent})
    interpreter = Interpreter(str(path), num_threads=1)
    interpreter.resize_tensor_input(interpreter.get_input_details()[0]["index"], picture.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], picture)
    return interpreter.invoke


def graph_of(path: Path) -> dict[str, int]:
    """What predicts the speed: XNNPACK's partitions, or the nodes with those that only move data."""
    if path.suffix == ".onnx":
        kinds = [node.op_type for node in onnx.load(path).graph.node]
        norms = kinds.count("InstanceNormalization")
        return {"nodes": len(kinds), "transposes": kinds.count("Transpose"), "fused_norms": norms}
    delegated = Interpreter(str(path), num_threads=1)
    delegated.allocate_tensors()
    plain = Interpreter(
        str(path), experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES, num_threads=1
    )
    names = [op["op_name"] for op in plain._get_ops_details()]
    partitions = sum(op["op_name"] == "DELEGATE" for op in delegated._get_ops_details())
    return {"nodes": len(names), "partitions": partitions, "flex": sum(name.startswith("Flex") for name in names)}


def exports(model: keras.Model, picture: np.ndarray, folder: Path) -> list[dict]:
    """Seconds of an export without the gate's fresh process, the best of 3, and bytes per byte of weights."""
    network, inputs = network_and_inputs(model, picture)
    raw = sum(weight.numpy().nbytes for weight in model.weights)
    rows = []
    for name, module in _formats.formats().items():
        seconds, busy = [], []
        for i in range(3):
            path = folder / f"timed_{i}{module.FORMAT.suffix}"
            start, start_busy = time.perf_counter(), time.process_time()
            module.export(_formats.Request({"serving_default": network}, "float32", inputs), path)
            seconds.append(time.perf_counter() - start)
            busy.append(time.process_time() - start_busy)
        row = {"format": name, "seconds": min(seconds), "first": seconds[0], "cpu_seconds": min(busy)}
        rows.append(row | {"size": _bytes(path) / raw})
    model.export(str(folder / "keras_own"), verbose=False)
    rows.append({"format": "saved_model by Keras", "seconds": None, "size": _bytes(folder / "keras_own") / raw})
    return rows


def _bytes(path: Path) -> int:
    return sum(f.stat().st_size for f in path.rglob("*") if f.is_file()) if path.is_dir() else path.stat().st_size


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="write the numbers there too")
    arguments = parser.parse_args()
    keras.utils.set_random_seed(0)
    picture = np.random.default_rng(0).uniform(-1, 1, (1, SIZE, SIZE, 3)).astype("float32")
    small, large = usual_generator(), usual_generator(filters=33)
    with tempfile.TemporaryDirectory() as folder:
        print(f"{machine()}\n{large.count_params():,} parameters: the export itself")
        timed = exports(large, picture, Path(folder))
        for row in timed:
            seconds = "" if row["seconds"] is None else f"{row['seconds']:.2f} s (CPU {row['cpu_seconds']:.2f} s)"
            print(f"  {row['format']:22} bytes / weights {row['size']:.3f}  {seconds}")
        print(f"{small.count_params():,} parameters, {SIZE} pixels, one thread: ratios to Keras' own float32")
        measured = latencies(small, picture, Path(folder))
        for row in measured:
            graph = ", ".join(f"{count} {what}" for what, count in list(row.items())[8:])
            start = f"  {row['format']:7} {row['by']:9} {row['variant']:13}"
            print(
                f"{start} {row['bytes']:9,} bytes {row['ms']:7.2f} ms  ratio {row['ratio']:.2f}"
                f" (of the least {row['least_ratio']:.2f})  {graph}"
            )
    write_json(arguments.json, exports=timed, latencies=measured)


if __name__ == "__main__":
    main()
