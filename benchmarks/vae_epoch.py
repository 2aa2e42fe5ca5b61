"""Seconds of a VAE's epoch beside pythae 0.1.2's, on pythae's own networks and on those of `vae_digits`.

    python benchmarks/vae_epoch.py [--images N] [--rounds 3] [--bfloat16] [--venv FOLDER] [--json FILE]

"mnist" is pythae's convolutional encoder and decoder for MNIST (17.2 M parameters, 28 x 28, batch 100), "digits" the
networks of our preset `vae_digits` without labels (16 x 16, batch 64, and 25 steps run together, where the preset has
32). Each turn of a side is one epoch of random images by the library's own training loop: our `fit`, and the
`train_step` of pythae's `BaseTrainer` (its copy of the best model after an epoch isn't counted). pythae has no
bfloat16 on a CPU, and runs in a virtual environment that this script makes. The medians' ratios to pythae are what
carries over to other machines.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from peers import PYTHAE_FOLDER, answer, machine, pythae_python, take_turns, write_json

NETS = {
    "mnist": {"size": 28, "latent_dim": 16, "batch": 100, "images": 800, "together": 1},
    "digits": {"size": 16, "latent_dim": 12, "batch": 64, "images": 6400, "together": 25},
}


def pythae_epoch(net: str, images: int):
    """A function that trains for one epoch in pythae; runs in its environment."""
    import torch
    from pythae.data.datasets import BaseDataset
    from pythae.models import VAE, VAEConfig
    from pythae.models.nn.benchmarks.mnist import Decoder_Conv_AE_MNIST, Encoder_Conv_VAE_MNIST
    from pythae.trainers import BaseTrainer, BaseTrainerConfig
    from pythae_vae import Decoder, Encoder

    size, latent_dim, batch, *_ = NETS[net].values()
    config = VAEConfig(input_dim=(1, size, size), latent_dim=latent_dim, reconstruction_loss="bce")
    if net == "mnist":
        networks = {"encoder": Encoder_Conv_VAE_MNIST(config), "decoder": Decoder_Conv_AE_MNIST(config)}
    else:
        networks = {"encoder": Encoder(), "decoder": Decoder()}
    training = BaseTrainerConfig(
        output_dir=tempfile.mkdtemp(), per_device_train_batch_size=batch, optimizer_cls="Adam", no_cuda=True
    )
    data = BaseDataset(torch.rand(images, 1, size, size), torch.zeros(images))
    trainer = BaseTrainer(VAE(config, **networks), data, training_config=training)
    trainer.prepare_training()
    return lambda: trainer.train_step(1)


def kerasgen_epoch(net: str, images: int, precision: str):
    """A function that trains our VAE for one epoch."""
    import keras
    import numpy as np
    import tensorflow as tf

    from kerasgen.models import VAE

    size, latent_dim, batch, _, together = NETS[net].values()
    if precision == "bfloat16":
        keras.config.set_dtype_policy("mixed_bfloat16")
    if net == "mnist":
        encoder, decoder = mnist_networks(latent_dim)
        vae = VAE((size, size, 1), latent_dim, encoder=encoder, decoder=decoder)
    else:
        vae = VAE.from_preset("vae_digits", load_weights=False, num_classes=None, kl_warmup_steps=0)
    vae.compile("adam", steps_per_execution=together)
    pictures = np.random.default_rng(0).random((images, size, size, 1), dtype=np.float32)
    data = tf.data.Dataset.from_tensor_slices({"image": pictures}).shuffle(images).batch(batch).prefetch(2)
    return lambda: vae.fit(data, verbose=0, shuffle=False)


def mnist_networks(latent_dim: int, width: int = 128):
    """pythae's `Encoder_Conv_VAE_MNIST` and `Decoder_Conv_AE_MNIST` in Keras: the same functions, as many weights.

    Padding and cropping are the convolutions' own, so that nothing is computed only to be cut off. Where PyTorch cuts
    the first row and column, Keras cuts the last, so the decoder is pythae's in a mirror. The last convolution sees
    the whole map and gives one pixel, which is a product of matrices: as such it takes a fifth of the time.
    """
    import keras
    from keras import layers

    def norm_relu(x):
        return layers.ReLU()(layers.BatchNormalization(momentum=0.9, epsilon=1e-5)(x))

    def pad_first(x):  # what padding 1 adds at the other end is never seen: 7 pixels become 3, and 3 become 1
        return layers.ZeroPadding2D(((1, 0), (1, 0)))(x)

    x = image = keras.Input((28, 28, 1), name="image")
    for filters in (width, 2 * width):
        x = norm_relu(layers.Conv2D(filters, 4, strides=2, padding="same")(x))
    x = norm_relu(layers.Conv2D(4 * width, 4, strides=2)(pad_first(x)))
    x = norm_relu(layers.Dense(8 * width)(layers.Flatten()(pad_first(x))))
    posterior = {name: layers.Dense(latent_dim, dtype="float32", name=name)(x) for name in ("z_mean", "z_log_var")}

    z = keras.Input((latent_dim,), name="z")
    x = layers.Reshape((4, 4, 8 * width))(layers.Dense(8 * width * 4 * 4)(z))
    # 4 pixels to 7, to 14, to 28.
    for filters, more in ((4 * width, 0), (2 * width, 1), (1, 1)):
        x = layers.Conv2DTranspose(filters, 3, strides=2, padding="same", output_padding=more)(x)
        x = norm_relu(x) if filters > 1 else x
    decoded = layers.Activation("sigmoid", dtype="float32", name="image")(x)
    return keras.Model({"image": image}, posterior), keras.Model({"z": z}, decoded)


def measure(images: int | None, rounds: int, bfloat16: bool, python: Path) -> list[dict]:
    """A row for each net and side: seconds an epoch, and their ratio to pythae's."""
    rows = []
    for net, values in NETS.items():
        count = images or values["images"]
        sides = {"pythae float32": python, "kerasgen float32": sys.executable}
        if bfloat16:
            sides["kerasgen bfloat16"] = sys.executable
        commands = {s: [p, __file__, "--images", count, "--side", f"{net} {s}"] for s, p in sides.items()}
        found = take_turns(commands, rounds)
        base = found["pythae float32"]["seconds"]
        for side, row in found.items():
            speed = {"ratio": row["seconds"] / base, "images_per_second": count / row["seconds"]}
            rows.append({"net": net, "side": side, **row, **speed})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, help="of an epoch; 800 of mnist and 6400 of digits if left out")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--bfloat16", action="store_true", help="too; minutes a step on a processor without its units"
    )
    parser.add_argument("--venv", type=Path, default=PYTHAE_FOLDER)
    parser.add_argument("--json", type=Path, help="write the numbers there too")
    parser.add_argument("--side", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.side:
        net, library, precision = arguments.side.split()
        options = (net, arguments.images)
        answer(pythae_epoch(*options) if library == "pythae" else kerasgen_epoch(*options, precision))
        return
    rows = measure(arguments.images, arguments.rounds, arguments.bfloat16, pythae_python(arguments.venv))
    print(f"{machine()}; medians of {arguments.rounds}")
    print(f"{'net':8} {'side':20} ratio  seconds  images/s  peak GiB")
    for row in rows:
        print(
            f"{row['net']:8} {row['side']:20} {row['ratio']:5.2f}  {row['seconds']:7.2f}  "
            f"{row['images_per_second']:8.0f}  {row['peak_gib']:8.2f}"
        )
    write_json(arguments.json, rows=rows)


if __name__ == "__main__":
    main()
