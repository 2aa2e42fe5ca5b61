"""Large pictures: time and peak memory by strips and at once, and what overlapping tiles get wrong.

    python benchmarks/large.py [--json FILE] [--small] [--only NAME ...] [--sizes N] [--float64]

Each row is a process of its own, with one photograph through one generator: strip by strip in a quarter of the memory
that the whole is reckoned to take, at once where that fits, and in tiles of 256 pixels that overlap by 32, of which
each is translated by itself. Peaks are what the process takes beyond what it had before; errors are in levels of 256,
against the whole, or against strips where the whole doesn't fit. Linux alone tells peaks so. Processor seconds, of
all threads together, depend less on what else runs than seconds do. `--float64` computes the network in float64 too,
which takes long, and says how far from that strips and whole are.
"""

import argparse
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from peers import write_json

if TYPE_CHECKING:
    import keras

# Height and width, from a third of a megapixel to twelve.
SIZES = ((512, 768), (1024, 1536), (2048, 3072), (3008, 4000))
SMALL_SIZES = ((600, 820),)
NAMES = ("resnet_9", "unet_256", "restorer", "super_resolver_4", "cyclegan_photo_dusk", "face_super_resolution")
TILE, OVERLAP = 256, 32
_MOST_MEMORY = 12e9  # of a whole, for a machine with 24 GB
_SHARE = 4  # by which the whole's memory is divided for strips


def network_of(name: str, small: bool) -> "keras.Model":
    """Return a generator by its name, with random weights, or a trained preset's; small ones have few filters."""
    import keras

    from kerasgen.models import CycleGAN, PairedTranslator
    from kerasgen.networks import resnet_generator, unet_generator
    from kerasgen.networks.restoration import restorer, super_resolver

    keras.utils.set_random_seed(0)
    width = {"filters": 12} if small else {}
    builders: dict[str, Callable[[], keras.Model]] = {
        "resnet_9": lambda: resnet_generator(blocks=1 if small else 9, **width),
        "unet_256": lambda: unet_generator(downsamplings=4 if small else 8, norm="instance", **width),
        "restorer": lambda: restorer(**width),
        "super_resolver_4": lambda: super_resolver(4, **width),
        "cyclegan_photo_dusk": lambda: CycleGAN.from_preset(name).translators()["a2b"],
        "face_super_resolution": lambda: PairedTranslator.from_preset(name).translators()["a2b"],
    }
    return builders[name]()


def photograph(height: int, width: int) -> np.ndarray:
    """A photograph at that size, [height, width, 3] in [-1, 1], with a camera's noise: it has detail at any size."""
    from PIL import Image
    from sklearn.datasets import load_sample_image

    picture = np.asarray(Image.fromarray(load_sample_image("china.jpg")).resize((width, height)), "float32")
    picture += np.random.default_rng(0).normal(0, 4, picture.shape)
    return np.clip(picture / 127.5 - 1.0, -1.0, 1.0).astype("float32")


def tiled(translate: Callable[[np.ndarray], np.ndarray], picture: np.ndarray) -> np.ndarray:
    """The naive way: tiles, each translated by itself; of an overlap, each of two tiles gives its half."""
    step, half = TILE - OVERLAP, OVERLAP // 2
    result = None
    for top in range(0, picture.shape[0], step):
        for left in range(0, picture.shape[1], step):
            y, x = max(top - half, 0), max(left - half, 0)
            tile = translate(picture[y : top + step + half, x : left + step + half])
            scale = tile.shape[0] // len(picture[y : top + step + half])
            if result is None:
                shape = (scale * picture.shape[0], scale * picture.shape[1], tile.shape[-1])
                result = np.empty(shape, np.float32)
            own = tile[scale * (top - y) :, scale * (left - x) :][: scale * step, : scale * step]
            place = result[scale * top : scale * (top + step), scale * left : scale * (left + step)]
            place[...] = own[: place.shape[0], : place.shape[1]]
    assert result is not None
    return result


def in_float64(network: "keras.Model", picture: np.ndarray) -> np.ndarray:
    """What a network of float32 would give if it computed in float64."""
    import keras

    from kerasgen.models.translation import padded_size

    def copy(layer: keras.Layer) -> keras.Layer:
        return layer.__class__.from_config({**layer.get_config(), "dtype": "float64"})

    exact = keras.models.clone_model(network, clone_function=copy)
    exact.set_weights(network.get_weights())
    height, width, _ = picture.shape
    full = padded_size(network, height, width)
    picture = np.pad(picture, [(0, full[0] - height), (0, full[1] - width), (0, 0)], mode="symmetric")
    output = exact(picture[None].astype("float64"), training=False)[0]
    scale = output.shape[0] // full[0]
    return np.clip(output[: scale * height, : scale * width], -1.0, 1.0)


def error(found: np.ndarray, exact: np.ndarray) -> dict[str, float]:
    """Largest and mean difference of two pictures in [-1, 1], in levels of 256, and how many values differ."""
    levels = [np.round((picture + 1.0) * 127.5) for picture in (found, exact)]
    different = np.abs(levels[0] - levels[1])
    return {"max": different.max(), "mean": different.mean(), "share": (different > 0).mean()}


def taken(work: Callable[[], np.ndarray]) -> tuple[np.ndarray, dict[str, float]]:
    """Return what some work gives, its seconds, and by how many bytes it raises this process's memory at its peak."""
    from kerasgen.models.memory import give_back

    give_back()
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before, start, worked = _memory("VmRSS"), time.perf_counter(), time.process_time()
    result = work()
    seconds = {"seconds": time.perf_counter() - start, "processor": time.process_time() - worked}
    return result, {**seconds, "peak": _memory("VmHWM") - before}


def _memory(name: str) -> int:
    found = re.search(rf"{name}:\s*(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return 1024 * int(found[1])


def row(name: str, height: int, width: int, small: bool, float64: bool) -> dict[str, object]:
    """Measure one generator at one size."""
    from kerasgen.models.translation import translate_images, whole_memory

    network, picture = network_of(name, small), photograph(height, width)
    needed = int(whole_memory(network, height, width))
    given = needed // _SHARE
    for memory in (2 * needed, given):  # what is done once is done
        translate_images(network, picture[:256, :256], memory=memory)
    exact, strips = taken(lambda: translate_images(network, picture, memory=given))
    found: dict[str, object] = {"reckoned": needed, "given": given, "strips": strips}
    if needed <= _MOST_MEMORY:
        by_strips = exact
        exact, found["whole"] = taken(lambda: translate_images(network, picture, memory=2 * needed))
        strips |= error(by_strips, exact)
        if float64:
            truth = in_float64(network, picture)
            found["against float64"] = {"strips": error(by_strips, truth), "whole": error(exact, truth)}
    tiles, of_tiles = taken(lambda: tiled(lambda tile: translate_images(network, tile), picture))
    found["tiles"] = of_tiles | error(tiles, exact)
    return found


def measured(name: str, height: int, width: int, *options: str) -> dict[str, object]:
    """Measure in a new process."""
    command = [sys.executable, __file__, "--row", name, str(height), str(width), *options]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        return {"failed": done.stderr.strip().splitlines()[-1:]}
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="keep the results there")
    parser.add_argument("--small", action="store_true", help="small networks and one small picture")
    parser.add_argument("--only", nargs="+", choices=NAMES, metavar="NAME", default=NAMES, help=", ".join(NAMES))
    parser.add_argument("--sizes", type=int, default=len(SIZES), help="how many of the sizes, the smallest first")
    parser.add_argument("--float64", action="store_true", help="compare with float64 where the whole fits")
    parser.add_argument("--row", nargs=3, metavar=("NAME", "HEIGHT", "WIDTH"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.row:
        name, height, width = given.row
        print(json.dumps(row(name, int(height), int(width), given.small, given.float64), default=float))
        return
    rows, options = [], [*["--small"] * given.small, *["--float64"] * given.float64]
    for name in given.only:
        for height, width in SMALL_SIZES if given.small else SIZES[: given.sizes]:
            found = measured(name, height, width, *options)
            rows.append({"network": name, "pixels": height * width, **found})
            print(json.dumps(rows[-1]), flush=True)
    write_json(given.json, small=given.small, rows=rows)


if __name__ == "__main__":
    main()
