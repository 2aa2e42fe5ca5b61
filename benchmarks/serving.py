"""Throughput and latency of `kerasgen serve` with batching and without, in one interleaved run.

    python benchmarks/serving.py [--filters 8 --blocks 6] [--rounds 4] [--seconds 5] [--clients 16] [--json FILE]

The network is the paper's ResNet generator of 6 blocks with an eighth of its filters, at 64 x 64 pixels; each client
sends one picture at a time by gRPC and waits for the answer. Two servers on the same version take turns, each a
process of its own. Then one client sends small pictures one after another over a connection that it keeps, by gRPC
and by REST in turn. Last, the first request after a start is compared with the median, with warm-up and without.
Ratios carry over to other machines, milliseconds don't.
"""

import argparse
import http.client
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import grpc
import keras
import numpy as np
import tensorflow as tf
from peers import machine, write_json
from tensorflow_serving.apis import predict_pb2

from kerasgen.export import ImageSpec
from kerasgen.export.serving import export_serving
from kerasgen.networks import resnet_generator

SIZE, SMALL, NAME = 64, 8, "resnet"
PREDICT = "/tensorflow.serving.PredictionService/Predict"


@contextmanager
def serving(base: Path, *options: str) -> Iterator[tuple[int, int]]:
    """A server in a process of its own; gives its ports of gRPC and of REST."""
    kerasgen = Path(sys.executable).with_name("kerasgen")
    command = [kerasgen, "serve", base, "--grpc-port", "0", "--rest-port", "0", *options]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            for line in process.stdout:
                if match := re.match(r"gRPC: 127\.0\.0\.1:(\d+); REST: http://127\.0\.0\.1:(\d+)", line):
                    yield int(match[1]), int(match[2])
                    break
        finally:
            process.terminate()


def picture(size: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (1, size, size, 3), "uint8")


def request(size: int = SIZE) -> bytes:
    """One picture."""
    message = predict_pb2.PredictRequest()
    message.model_spec.name = NAME
    message.inputs["image"].CopyFrom(tf.make_tensor_proto(picture(size)))
    return message.SerializeToString()


def load(port: int, clients: int, seconds: float) -> tuple[float, list[float]]:
    """Requests a second, and the milliseconds of each, from this many clients at once."""
    content, taken = request(), [[] for _ in range(clients)]
    end = time.perf_counter() + seconds

    def ask(own: list[float]) -> None:
        with grpc.insecure_channel(f"127.0.0.1:{port}", [("grpc.use_local_subchannel_pool", 1)]) as channel:
            call = channel.unary_unary(PREDICT)
            while (start := time.perf_counter()) < end:
                call(content, timeout=60)
                own.append(1000 * (time.perf_counter() - start))

    threads = [threading.Thread(target=ask, args=(own,)) for own in taken]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    total = [value for own in taken for value in own]
    return len(total) / (time.perf_counter() - start), total


def first_and_median(port: int) -> tuple[float, float]:
    """Milliseconds of the first request after the start, and of the 50 that follow."""
    content, taken = request(), []
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        grpc.channel_ready_future(channel).result(30)
        call = channel.unary_unary(PREDICT)
        for _ in range(51):
            start = time.perf_counter()
            call(content, timeout=60)
            taken.append(1000 * (time.perf_counter() - start))
    return taken[0], statistics.median(taken[1:])


def sequential(ports: tuple[int, int], count: int = 300) -> dict[str, list[float]]:
    """Milliseconds of small requests one after another over one connection each, gRPC and REST in turn."""
    content, body = request(SMALL), json.dumps({"instances": picture(SMALL).tolist()})
    taken = {"gRPC": [], "REST": []}
    rest = http.client.HTTPConnection("127.0.0.1", ports[1])
    with grpc.insecure_channel(f"127.0.0.1:{ports[0]}") as channel:
        call = channel.unary_unary(PREDICT)

        def by_grpc() -> None:
            call(content, timeout=60)

        def by_rest() -> None:
            rest.request("POST", f"/v1/models/{NAME}:predict", body)
            rest.getresponse().read()

        for number in range(-20, count):  # the first twenty warm up
            for name, ask in (("gRPC", by_grpc), ("REST", by_rest)):
                start = time.perf_counter()
                ask()
                if number >= 0:
                    taken[name].append(1000 * (time.perf_counter() - start))
    rest.close()
    for name, values in taken.items():
        p50, p90, p99 = np.percentile(values, (50, 90, 99))
        print(f"{name} one after another: p50 {p50:.1f} ms, p90 {p90:.1f} ms, p99 {p99:.1f} ms")
    return taken


def compare(base: Path, rounds: int, seconds: float, clients: int) -> dict[str, list[float]]:
    """Print throughput and latency of both servers, and the ratio; requests a second of each in each round."""
    rates, times = {"batching": [], "single": []}, {"batching": [], "single": []}
    with serving(base) as batching, serving(base, "--no-batching") as single:
        ports = {"batching": batching[0], "single": single[0]}
        for port in ports.values():
            load(port, clients, 1.0)
        for _ in range(rounds):
            for name, port in ports.items():
                rate, taken = load(port, clients, seconds)
                rates[name].append(rate)
                times[name] += taken
    for name in rates:
        p50, p90, p99 = np.percentile(times[name], (50, 90, 99))
        said = f"p50 {p50:.1f} ms, p90 {p90:.1f} ms, p99 {p99:.1f} ms"
        print(f"{name:9} {statistics.median(rates[name]):7.1f} requests/s with {clients} clients; {said}")
    ratios = [a / b for a, b in zip(rates["batching"], rates["single"], strict=True)]
    each = ", ".join(f"{ratio:.2f}" for ratio in ratios)
    print(f"batching / single: {statistics.median(ratios):.2f} (median of {each})")
    return rates


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--filters", type=int, default=8)
    parser.add_argument("--blocks", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--starts", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write the numbers there too")
    options = parser.parse_args()
    keras.utils.set_random_seed(0)
    print(machine())
    with tempfile.TemporaryDirectory() as folder:
        base, cold = Path(folder, "warm"), Path(folder, "cold")
        network = resnet_generator(filters=options.filters, blocks=options.blocks)
        export_serving(network, base, NAME, image=ImageSpec(multiple=4))
        rates = compare(base, options.rounds, options.seconds, options.clients)
        with serving(base) as ports:
            one_by_one = sequential(ports)
        shutil.copytree(base, cold)
        next(cold.glob("*/1/assets.extra/tf_serving_warmup_requests")).unlink()
        starts = {"with": [], "without": []}
        for name, where in (("with", base), ("without", cold)):
            for _ in range(options.starts):
                with serving(where) as (port, _):
                    starts[name].append(first_and_median(port))
            said = ", ".join(f"{first / median:.1f} ({first:.0f} ms)" for first, median in starts[name])
            print(f"first request / median {name} warm-up: {said}")
    write_json(options.json, requests_per_second=rates, sequential_ms=one_by_one, first_and_median_ms=starts)


if __name__ == "__main__":
    main()
