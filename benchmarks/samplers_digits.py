"""How well samplers know the latents of an unconditional VAE of digits, and three binary attributes.

    python benchmarks/samplers_digits.py [--seeds 0,1,2,3,4]

For each seed a VAE is trained on the 1,500 training digits. Held-out negative log-likelihood in nats of posterior
samples of the 297 test digits. Then pictures for each occurring combination of odd, at least 5 and "has a loop"; a
scikit-learn SVC that was trained on the test digits, which the VAE never saw, says in how many all three are right;
its ceiling is its accuracy on the real training digits. Beside it the distance (root mean square of a pixel) to the
nearest training picture, and that of real test digits.
"""

import argparse

import numpy as np

from kerasgen.models import VAE
from kerasgen.samplers import ClassGaussianSampler, DecisionTreeSampler, GaussianMixtureSampler, PriorSampler

NAMES = ("odd", "at_least_5", "loop")
_EACH = 200


def attributes(digits: np.ndarray) -> dict[str, np.ndarray]:
    """The three attributes of digits 0 to 9."""
    return dict(zip(NAMES, (digits % 2, (digits >= 5).astype(int), np.isin(digits, (0, 6, 8, 9)) * 1), strict=True))


def trained(seed: int) -> tuple[VAE, tuple, tuple]:
    """An unconditional VAE; images and labels of the training and of the test split."""
    import keras

    from kerasgen.data import load

    keras.utils.set_random_seed(seed)
    vae = VAE.from_preset("vae_digits", load_weights=False, num_classes=None, beta=0.4, seed=seed)
    vae.compile_for_recipe(1500 // 64, 50, learning_rate=2e-3)
    vae.fit(load("digits", "train", batch_size=64, seed=seed), epochs=50, verbose=0, shuffle=False)
    splits = []
    for split in ("train", "test"):
        batches = list(load("digits", split, shuffle=False, batch_size=300))
        splits.append(tuple(np.concatenate([b[name] for b in batches]) for name in ("image", "label")))
    return vae, *splits


def likelihoods(vae: VAE, train: tuple, test: tuple, seed: int) -> dict[str, float]:
    """Held-out negative log-likelihood by sampler, in nats."""
    posterior, held_out = vae.encode(train[0]), vae.encode(test[0])
    z = np.concatenate([held_out.sample(seed=100 * seed + i) for i in range(5)])
    fitted = {
        "prior": PriorSampler(vae.latent_dim),
        "gaussian_mixture": GaussianMixtureSampler().fit(posterior),
        "class_gaussian": ClassGaussianSampler().fit(posterior, train[1]),
        "decision_tree": DecisionTreeSampler().fit(posterior, train[1]),
        "decision_tree, no labels": DecisionTreeSampler().fit(posterior),
    }
    return {name: -float(sampler.log_prob(z).mean()) for name, sampler in fitted.items()}


def recognized(vae: VAE, train: tuple, test: tuple, seed: int) -> dict[str, tuple[float, float]]:
    """By sampler, the share of pictures with all three attributes right, and the distance to the nearest."""
    from sklearn.svm import SVC

    from kerasgen.metrics import nearest_distances

    classifier = SVC().fit(test[0].reshape(len(test[0]), -1), test[1])

    def right(images: np.ndarray, wanted: np.ndarray) -> float:
        found = attributes(classifier.predict(images.reshape(len(images), -1)))
        return float((np.stack(list(found.values()), axis=1) == wanted).all(axis=1).mean())

    table = np.stack(list(attributes(train[1]).values()), axis=1)
    combinations = np.unique(table, axis=0)
    wanted = combinations.repeat(_EACH, axis=0)
    rows = {"real": (right(train[0], table), float(nearest_distances(test[0], train[0]).mean()))}
    prior = vae.generate(len(wanted), seed=seed)
    rows["prior"] = (right(prior, wanted), float(nearest_distances(prior, train[0]).mean()))
    for name, sampler in (("class_gaussian", ClassGaussianSampler()), ("decision_tree", DecisionTreeSampler())):
        sampler.fit(vae.encode(train[0]), attributes=attributes(train[1]))
        evidence = [dict(zip(NAMES, map(int, c), strict=True)) for c in combinations]
        z = [sampler.sample(_EACH, seed=seed + i, where=where).z for i, where in enumerate(evidence)]
        images = vae.decode(np.concatenate(z))
        rows[name] = (right(images, wanted), float(nearest_distances(images, train[0]).mean()))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", default="0,1,2,3,4")
    for seed in map(int, parser.parse_args().seeds.split(",")):
        vae, train, test = trained(seed)
        found = likelihoods(vae, train, test, seed)
        print(f"seed {seed}, nats:", ", ".join(f"{name} {value:.2f}" for name, value in found.items()))
        rows = recognized(vae, train, test, seed)
        print(
            "  all three right (nearest):",
            ", ".join(f"{n} {a:.3f} ({d:.4f})" for n, (a, d) in rows.items()),
            flush=True,
        )


if __name__ == "__main__":
    main()
