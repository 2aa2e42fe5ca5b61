"""Seconds to fit and to sample, for 50,000 latents of 64 dimensions.

    python benchmarks/samplers.py [--count 50000] [--dimensions 64] [--json FILE]

The latents are posteriors of a made-up space: forty clusters, each of another shape, with labels and two attributes.
"""

import argparse
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from peers import machine, write_json

from kerasgen.samplers import SAMPLERS

_CLUSTERS = 40


def posterior(count: int, dimensions: int, seed: int = 0) -> tuple[Any, np.ndarray, dict[str, np.ndarray]]:
    """Means and log-variances [count, dimensions], labels, and attributes."""
    rng = np.random.default_rng(seed)
    cluster = rng.integers(0, _CLUSTERS, count)
    centers = 0.8 * rng.standard_normal((_CLUSTERS, dimensions))
    shapes = rng.standard_normal((_CLUSTERS, dimensions, dimensions)) / dimensions**0.5
    noise = 0.5 * rng.standard_normal((count, dimensions))
    mean = np.empty((count, dimensions), np.float32)
    for k in range(_CLUSTERS):
        mean[cluster == k] = centers[k] + noise[cluster == k] @ shapes[k]
    log_var = rng.normal(-2.0, 0.5, mean.shape).astype(np.float32)
    attributes = {"even": (cluster % 2 == 0).astype(int), "high": (cluster > 20).astype(int)}
    return SimpleNamespace(mean=mean, log_var=log_var), cluster % 10, attributes


def measure(name: str, latents: Any, labels: np.ndarray, attributes: dict[str, np.ndarray]) -> dict[str, float]:
    """Seconds of each step of one sampler."""
    sampler, row = SAMPLERS[name](), {}
    for step, work in (
        ("fit", lambda: sampler.fit(latents, labels, attributes)),
        ("sample_10000", lambda: sampler.sample(10_000, seed=0)),
        ("log_prob_10000", lambda: sampler.log_prob(latents.mean[:10_000])),
    ):
        start = time.perf_counter()
        work()
        row[step] = time.perf_counter() - start
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=50_000)
    parser.add_argument("--dimensions", type=int, default=64)
    parser.add_argument("--samplers", default="posterior,class_gaussian,decision_tree,gaussian_mixture")
    parser.add_argument("--json", type=Path, help="write the numbers there too")
    arguments = parser.parse_args()
    data = posterior(arguments.count, arguments.dimensions)
    rows = {}
    print(f"{machine()}\n{'sampler':18}{'fit, s':>8}{'10,000 samples, s':>20}{'their density, s':>18}")
    for name in arguments.samplers.split(","):
        rows[name] = row = measure(name, *data)
        print(f"{name:18}{row['fit']:8.1f}{row['sample_10000']:20.2f}{row['log_prob_10000']:18.1f}", flush=True)
    write_json(arguments.json, seconds=rows)


if __name__ == "__main__":
    main()
