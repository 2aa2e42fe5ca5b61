"""Our VAE and samplers beside pythae 0.1.2's, on the digits.

    python benchmarks/vae_quality.py [--seeds 0,1,2] [--venv FOLDER] [--json FILE]

Both sides train the same unconditional networks (12 latents, beta 1, 50 epochs, Adam 2e-3 with a cosine) on the 1,500
training digits. The test ELBO is computed by the same formula from each side's posteriors and logits, with the same
noise. Pictures are compared with the 297 test digits in the features of the classifier that ships for the digits,
which has seen training digits alone; "real" is as many training digits, and its accuracy the classifier's ceiling.
pythae runs in a virtual environment that this script makes.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from peers import PYTHAE_FOLDER, pythae_python, write_json

from kerasgen.commands.evaluate import compare
from kerasgen.commands.generate import Encoded, fitted_sampler, generate_pictures
from kerasgen.data import load
from kerasgen.metrics import nearest_distances
from kerasgen.metrics.features import extractor_for
from kerasgen.models import VAE
from kerasgen.samplers import SAMPLERS

_NOISE = 20
_BATCH = 60  # divides the 1,500 digits: pythae would take a last, uneven batch, and so more steps
_BLIND = ("prior", "two_stage")


def arrays(split: str) -> tuple[np.ndarray, np.ndarray]:
    """Images [n, 16, 16, 1] and labels [n]."""
    batches = list(load("digits", split, shuffle=False, batch_size=300))
    return tuple(np.concatenate([batch[name] for batch in batches]) for name in ("image", "label"))


def elbo(images: np.ndarray, mean: np.ndarray, log_var: np.ndarray, logits: np.ndarray) -> float:
    """Mean over the images and the noise, in nats."""
    x = images.reshape(len(images), 1, -1).astype(np.float64)
    nll = (np.logaddexp(0, logits) - x * logits).sum(axis=-1).mean(axis=1)
    mean, log_var = mean.astype(np.float64), log_var.astype(np.float64)
    kl = 0.5 * (mean**2 + np.exp(log_var) - 1 - log_var).sum(axis=1)
    return float(-(nll + kl).mean())


def ours(seed: int, test: np.ndarray, noise: np.ndarray, **options) -> tuple[VAE, float]:
    """Our trained VAE, and its test ELBO."""
    import keras

    keras.utils.set_random_seed(seed)
    vae = VAE.from_preset(
        "vae_digits", load_weights=False, seed=seed, **{"num_classes": None, "kl_warmup_steps": 0, **options}
    )
    vae.compile_for_recipe(1500 // _BATCH, 50, learning_rate=2e-3)
    vae.fit(load("digits", "train", batch_size=_BATCH, seed=seed), epochs=50, verbose=0, shuffle=False)
    posterior = vae.encode(test)
    z = posterior.mean[:, None] + np.exp(posterior.log_var / 2)[:, None] * noise
    p = np.clip(vae.decode(z.reshape(-1, z.shape[-1])).astype(np.float64), 1e-12, 1 - 1e-12)
    logits = (np.log(p) - np.log1p(-p)).reshape(*z.shape[:2], -1)
    return vae, elbo(test, posterior.mean, posterior.log_var, logits)


def theirs(seed: int, train: np.ndarray, test: np.ndarray, noise: np.ndarray, python: Path) -> dict[str, np.ndarray]:
    """What pythae_vae.py writes."""
    with tempfile.TemporaryDirectory() as folder:
        np.savez(f"{folder}/in.npz", train=train, test=test, noise=noise)
        script = Path(__file__).with_name("pythae_vae.py")
        command = [python, script, f"{folder}/in.npz", f"{folder}/out.npz", str(seed)]
        subprocess.run(command, check=True, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        with np.load(f"{folder}/out.npz") as found:
            return dict(found)


def rows_of(seed: int, python: Path) -> tuple[dict[str, float], dict[str, dict]]:
    """Test ELBOs by side, and the table's rows."""
    extractor = extractor_for("digits")
    (train, train_labels), (test, labels) = arrays("train"), arrays("test")
    noise = np.random.default_rng(seed).standard_normal((len(test), _NOISE, 12), dtype=np.float32)

    def row(images: np.ndarray, asked: np.ndarray | None) -> dict:
        found = compare(images, test, extractor) | {"nearest_training": nearest_distances(images, train).mean()}
        accuracy = None if asked is None else float((extractor.classes(images) == asked).mean())
        return found | {"conditional_accuracy": accuracy}

    chosen = np.random.default_rng(seed).permutation(len(train))[: len(test)]
    rows = {"real": row(train[chosen], train_labels[chosen])}
    rows["real"]["nearest_training"] = nearest_distances(test, train).mean()
    rows["real"]["conditional_accuracy"] = float((extractor.classes(test) == labels).mean())
    elbos = {}
    for beta in (1.0, 0.4):
        vae, found = ours(seed, test, noise, beta=beta)
        if beta == 1:
            elbos["kerasgen"] = found
        encoded = Encoded(*vae.encode(train), train_labels, {})
        for name in SAMPLERS:
            asked = None if name in _BLIND else labels
            made = generate_pictures(vae, fitted_sampler(vae, name, encoded), len(test), seed, labels=asked)
            rows[f"kerasgen, beta {beta:g}, {name}"] = row(made.images, asked)
    peer = theirs(seed, train, test, noise, python)
    elbos["pythae"] = elbo(test, peer["mean"], peer["log_var"], peer["logits"].astype(np.float64))
    rows |= {name: row(images, None) for name, images in peer.items() if name.startswith("pythae")}
    return elbos, rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--venv", type=Path, default=PYTHAE_FOLDER)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    python = pythae_python(arguments.venv)
    found = {seed: rows_of(int(seed), python) for seed in arguments.seeds.split(",")}
    for seed, (elbos, _) in found.items():
        print(f"seed {seed}: test ELBO", ", ".join(f"{side} {value:.2f}" for side, value in elbos.items()))
    names = ("frechet", "precision", "recall", "density", "coverage", "nearest_training", "conditional_accuracy")
    print(f"{'mean over the seeds':36}", *(f"{name:>20}" for name in names))
    for model in next(iter(found.values()))[1]:
        values = [[rows[model][name] for _, rows in found.values()] for name in names]
        print(f"{model:36}", *(f"{'–' if None in v else f'{np.mean(v):.3f}':>20}" for v in values))
    write_json(arguments.json, seeds=found)


if __name__ == "__main__":
    sys.exit(main())
