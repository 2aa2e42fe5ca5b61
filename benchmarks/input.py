"""Images a second from a folder of JPEGs, beside Keras' `image_dataset_from_directory`.

    python benchmarks/input.py [--json FILE] [--rounds 5]

The pictures are crops of scikit-learn's two photographs, enlarged to 1 megapixel (1,152×864). Both sides decode,
shuffle and batch by 32; they take turns, and the ratio is that of the medians of the turns. "first epoch" is ours
while it decodes; later epochs find the small pictures in memory, up to 512 MiB of them.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

from peers import machine, write_json

BATCH, PICTURES = 32, 512


def write_pictures(folder: Path, count: int = PICTURES) -> None:
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


def rate(iterator, batches: int) -> float:
    """Images a second."""
    start = time.perf_counter()
    for _ in range(batches):
        next(iterator)
    return batches * BATCH / (time.perf_counter() - start)


def measure(size: int, rounds: int) -> dict[str, float]:
    """The medians at one size; a side's pipeline stands only during its turn, which is two epochs."""
    epoch = PICTURES // BATCH - 1  # the batch that starts the pipeline isn't counted
    rates = {"first epoch": [], "later": [], "keras": []}
    with tempfile.TemporaryDirectory() as folder:
        write_pictures(Path(folder))
        for _ in range(rounds):
            for make, columns in ((ours, ("first epoch", "later")), (keras_own, ("keras", "keras"))):
                iterator = iter(make(Path(folder), size))
                next(iterator)
                for column in columns:
                    rates[column].append(rate(iterator, epoch))
                del iterator
    medians = {name: statistics.median(found) for name, found in rates.items()}
    return {
        "size": size,
        **medians,
        **{f"{name} ratio": medians[name] / medians["keras"] for name in list(rates)[:2]},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="write the numbers there too")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each side at each size")
    arguments = parser.parse_args()
    rows = [measure(size, arguments.rounds) for size in (64, 256)]
    print(f"{machine()}\nsize  first epoch (ratio)     later (ratio)  image_dataset_from_directory")
    for row in rows:
        ours = [f"{row[name]:6.0f}/s ({row[f'{name} ratio']:5.2f})" for name in ("first epoch", "later")]
        print(f"{row['size']:4}   {ours[0]:>18}{ours[1]:>18}  {row['keras']:24.0f}/s")
    write_json(arguments.json, rows=rows)


if __name__ == "__main__":
    main()
