"""Images a second from a folder of JPEGs, beside Keras' `image_dataset_from_directory`.

    python benchmarks/input.py [--json FILE] [--seconds 10]

The pictures are crops of scikit-learn's two photographs, enlarged to 1 megapixel (1,152×864). Both sides decode,
shuffle and batch by 32; they take turns, and the ratio is that of the medians of the turns.
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

BATCH = 32


def write_pictures(folder: Path, count: int = 128) -> None:
    """JPEGs of 1 megapixel in two class folders."""
    from PIL import Image
    from sklearn.datasets import load_sample_images

    photos = [Image.fromarray(photo) for photo in load_sample_images().images]
    for i in range(count):
        path = folder / "train" / "ab"[i % 2] / f"{i:03d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        left, top = (7 * i) % 64, (5 * i) % 43
        photos[i % 2].crop((left, top, left + 576, top + 384)).resize((1152, 864)).save(path, quality=92)


def ours(folder: Path, size: int):
    from kerasgen.data import load

    return load(f"folder:{folder / 'train'}", image_size=size, batch_size=BATCH, start_step=0)


def keras_own(folder: Path, size: int):
    import keras

    dataset = keras.utils.image_dataset_from_directory(
        folder / "train", image_size=(size, size), batch_size=BATCH, crop_to_aspect_ratio=True, verbose=False
    )
    return dataset.repeat().prefetch(2)


def rate(iterator, seconds: float) -> float:
    """Images a second."""
    start, batches = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        next(iterator)
        batches += 1
    return batches * BATCH / (time.perf_counter() - start)


def measure(size: int, seconds: float, rounds: int = 5) -> dict[str, float]:
    """The medians of both sides at one size; a side's pipeline stands only during its turn."""
    sides = {"kerasgen": ours, "keras": keras_own}
    rates = {name: [] for name in sides}
    with tempfile.TemporaryDirectory() as folder:
        write_pictures(Path(folder))
        for _ in range(rounds):
            for name, make in sides.items():
                iterator = iter(make(Path(folder), size))
                next(iterator)
                rates[name].append(rate(iterator, seconds / rounds))
                del iterator
    medians = {name: statistics.median(found) for name, found in rates.items()}
    return {"size": size, **medians, "ratio": medians["kerasgen"] / medians["keras"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="write the numbers there too")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each side at each size")
    arguments = parser.parse_args()
    rows = [measure(size, arguments.seconds) for size in (64, 256)]
    print("size  kerasgen  image_dataset_from_directory  ratio")
    for row in rows:
        print(f"{row['size']:4}  {row['kerasgen']:6.0f}/s  {row['keras']:26.0f}/s  {row['ratio']:.2f}")
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
