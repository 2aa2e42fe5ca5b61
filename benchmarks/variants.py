"""How near to Keras every format and variant is on the trained presets, and how small and fast.

    python benchmarks/variants.py [--runs FOLDER] [--json FILE]

Trains vae_digits, cyclegan_digits_ink and cyclegan_photo_dusk (about 4 minutes), or takes them from FOLDER, where
`kerasgen quickstart --output FOLDER` left them. Calibrates on training inputs and compares on others. Latencies take
turns in one run, at all threads.
"""

import argparse
import os
import re
import tempfile
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from peers import machine, write_json

PRESETS = ("vae_digits", "cyclegan_digits_ink", "cyclegan_photo_dusk")


def measure(model: Any, preset: str, folder: Path) -> list[dict]:
    """Export the network that the preset is for in every variant, and measure each."""
    from kerasgen.export import benchmark

    network, rows = exported(model, preset, folder)
    passed = [row for row in rows if "refused" not in row]
    paths = [row.pop("path") for row in passed]
    measured = benchmark(paths, network, real_inputs(model, preset, "test", 32))
    times = {str(row.path): row.median_ms for row in measured}
    for row, path in zip(passed, paths, strict=True):
        row["median_ms"] = times[str(path)]
    return rows


def exported(model: Any, preset: str, folder: Path) -> tuple[Any, list[dict]]:
    """Export what the preset is for (decoder, generator a2b) in every variant; return the network and the rows."""
    from kerasgen.export import GateError, available_formats, export_model

    name, exported = next(iter(model.networks_to_export().items()))
    network = exported.network
    calibration, inputs = real_inputs(model, preset, "train", 100), real_inputs(model, preset, "test", 32)
    rows = []
    for format_name, variant in [(f, v) for f, variants in available_formats().items() for v in variants]:
        row = {"preset": preset, "network": name, "format": format_name, "variant": variant}
        options = {"calibration": calibration} if variant.startswith("static") else {}
        try:
            artifact = export_model(network, folder / name, format_name, variant, inputs=inputs, **options)
        except GateError as error:
            rows.append(row | {"refused": str(error)})
            continue
        found = re.match(r"([\d.]+) dB", artifact.parity["checks"]["parity"])
        row |= {"max_difference": artifact.parity["max_difference"], "psnr": found and float(found[1])}
        rows.append(row | {"bytes": artifact.bytes, "path": artifact.path})
    return network, rows


def real_inputs(model: Any, preset: str, split: str, n: int) -> dict[str, np.ndarray]:
    """Pictures of domain A, or latent codes of the prior, which is what a decoder is given."""
    from kerasgen.data import load_unpaired
    from kerasgen.models import find

    if model.generates:
        random = np.random.default_rng({"train": 0, "test": 1}[split])
        label = np.eye(model.num_classes)[random.integers(0, model.num_classes, n)]
        return {"z": random.standard_normal((n, model.latent_dim)), "label": label}
    batches = load_unpaired(split=split, seed=0, **find(preset)[1].data)
    pictures = [image for batch in batches.take(-(-n // 8)) for image in batch["a"].numpy()]
    return {"image": np.stack(pictures[:n])}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=Path, help="folder of trained run folders")
    parser.add_argument("--json", type=Path, help="write the numbers there too")
    arguments = parser.parse_args()
    from kerasgen.commands.train import train
    from kerasgen.runs import load_model

    rows = []
    print(machine())
    print(f"{'preset':20} {'format':12} {'variant':13} {'PSNR dB':>8} {'largest':>8} {'bytes':>9} {'ms':>7}")
    with tempfile.TemporaryDirectory() as folder:
        for preset in PRESETS:
            found = arguments.runs and arguments.runs / preset
            model = load_model(found) if found else train(preset, Path(folder, preset)).model
            for row in measure(model, preset, Path(folder)):
                rows.append(row)
                start = f"{preset:20} {row['format']:12} {row['variant']:13} "
                if "refused" in row:
                    print(start + row["refused"])
                    continue
                psnr = "" if row["psnr"] is None else f"{row['psnr']:.1f}"
                numbers = f"{row['max_difference']:8.1e} {row['bytes']:9,} {row['median_ms']:7.2f}"
                print(f"{start}{psnr:>8} {numbers}", flush=True)
    write_json(arguments.json, rows=rows)


if __name__ == "__main__":
    main()
