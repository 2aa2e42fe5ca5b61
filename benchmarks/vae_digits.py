"""The quality of the preset `vae_digits` on three seeds, as the README's table gives it.

    python benchmarks/vae_digits.py [--json FILE]

Test ELBO in nats at beta = 1 on the 297 held-out digits, and the share of 1,000 generated digits in which a
scikit-learn SVC, trained on the 1,500 real training digits, sees the class that was asked for.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
from peers import write_json


def measure(seed: int, classifier=None) -> dict[str, float]:
    """Train the preset, and measure it."""
    from kerasgen.commands.train import train

    classifier = classifier or real_classifier()
    with tempfile.TemporaryDirectory() as folder:
        run = train("vae_digits", Path(folder) / "run", seed=seed)
    labels = np.arange(1000) % 10
    images = run.model.generate(1000, labels=labels, seed=seed).reshape(1000, -1)
    return {
        "seed": seed,
        "test_elbo": run.history["val_elbo"][-1],
        "recognized": classifier.score(images, labels),
        "ceiling": classifier.score(*_pixels("test")),
    }


def real_classifier():
    """An SVC of scikit-learn's defaults that has seen real training digits alone."""
    from sklearn.svm import SVC

    return SVC().fit(*_pixels("train"))


def _pixels(split: str) -> tuple[np.ndarray, np.ndarray]:
    from kerasgen.data import load

    batches = list(load("digits", split, image_size=16, shuffle=False))
    images = np.concatenate([batch["image"] for batch in batches])
    return images.reshape(len(images), -1), np.concatenate([batch["label"] for batch in batches])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="write the numbers there too")
    arguments = parser.parse_args()
    classifier = real_classifier()
    rows = [measure(seed, classifier) for seed in (0, 1, 2)]
    print("seed  test ELBO  recognized  real test digits")
    for row in rows:
        print(f"{row['seed']:4}  {row['test_elbo']:9.2f}  {row['recognized']:10.1%}  {row['ceiling']:.1%}")
    write_json(arguments.json, rows=rows)


if __name__ == "__main__":
    main()
