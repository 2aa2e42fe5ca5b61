"""The paper's generator (resnet, 9 blocks, 11.4 M parameters), 256 x 256 pixels, one thread, one interleaved run.

    python benchmarks/inference.py [--rounds N] [--json FILE]

Our ONNX beside the same weights that PyTorch exported (`torch.onnx.export`, its TorchScript exporter), both in ONNX
Runtime, and our TFLite in float32 and dynamic int8 in LiteRT. Needs the extra `[torch]`.
"""

import argparse
import os
import statistics
import tempfile
import time
import warnings
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import numpy as np
import onnx
import torch
from peers import machine, write_json
from torch_cyclegan import ResnetGenerator

from export import runner
from kerasgen.commands.torch_import import import_torch
from kerasgen.export import export_model

SIZE = 256


def artifacts(folder: Path, picture: np.ndarray) -> dict[str, Path]:
    """The same weights in each form, by name."""
    torch.manual_seed(0)
    peer = ResnetGenerator(blocks=9).eval()
    torch.save(peer.state_dict(), folder / "latest_net_G.pth")
    ours = import_torch(folder / "latest_net_G.pth").network
    nchw = torch.from_numpy(picture.transpose(0, 3, 1, 2).copy())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that its other exporter is newer
        torch.onnx.export(peer, (nchw,), folder / "torch.onnx", input_names=["image"], opset_version=17, dynamo=False)
    with torch.no_grad():
        expected = peer(nchw).numpy().transpose(0, 2, 3, 1)
    np.testing.assert_allclose(ours(picture).numpy(), expected, atol=1e-4)
    paths = {"PyTorch's ONNX": folder / "torch.onnx"}
    for format_name, variant in (("onnx", "float32"), ("tflite", "float32"), ("tflite", "dynamic_int8")):
        paths[f"our {format_name} {variant}"] = export_model(
            ours, folder / "ours", format_name, variant, inputs=picture
        ).path
    return paths


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--json", type=Path, help="write the numbers there too")
    arguments = parser.parse_args()
    picture = np.random.default_rng(0).uniform(-1, 1, (1, SIZE, SIZE, 3)).astype("float32")
    with tempfile.TemporaryDirectory() as folder:
        paths = artifacts(Path(folder), picture)
        nodes = {name: len(onnx.load(path).graph.node) for name, path in paths.items() if path.suffix == ".onnx"}
        runs = {name: runner(path, picture) for name, path in paths.items()}
        times = {name: [] for name in runs}
        for _ in range(arguments.rounds):
            for name, run in runs.items():
                start = time.perf_counter()
                run()
                times[name].append(time.perf_counter() - start)
    # The first round allocates.
    medians = {name: 1000 * statistics.median(taken[1:]) for name, taken in times.items()}
    least = {name: 1000 * min(taken[1:]) for name, taken in times.items()}
    print(machine())
    for name, ms in medians.items():
        more = f"  {nodes[name]} nodes" if name in nodes else ""
        print(f"{name:24} median {ms:8.1f} ms  least {least[name]:8.1f} ms{more}")
    onnx_ratio = medians["our onnx float32"] / medians["PyTorch's ONNX"]
    int8_ratio = medians["our tflite dynamic_int8"] / medians["our tflite float32"]
    print(f"our ONNX / PyTorch's: {onnx_ratio:.2f}; TFLite dynamic int8 / float32: {int8_ratio:.2f}")
    write_json(
        arguments.json, median_ms=medians, least_ms=least, nodes=nodes, onnx_ratio=onnx_ratio, int8_ratio=int8_ratio
    )


if __name__ == "__main__":
    main()
