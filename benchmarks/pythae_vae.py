"""The pythae side of vae_quality.py; runs in a virtual environment of its own, with torch and pythae 0.1.2 alone.

    python pythae_vae.py IN.npz OUT.npz SEED

IN holds train and test images [n, 16, 16, 1] in [0, 1], and noise [test, k, 12]. OUT gets mean and log_var of the
test images' posteriors, their logits for that noise [test, k, 256], and generated images by sampler.
"""

import sys
import tempfile

import numpy as np
import torch
from pythae.data.datasets import BaseDataset
from pythae.models import VAE, VAEConfig
from pythae.models.base.base_utils import ModelOutput
from pythae.models.nn import BaseDecoder, BaseEncoder
from pythae.samplers import (
    GaussianMixtureSampler,
    GaussianMixtureSamplerConfig,
    NormalSampler,
    TwoStageVAESampler,
    TwoStageVAESamplerConfig,
)
from pythae.trainers import BaseTrainer, BaseTrainerConfig
from torch import nn

_LATENT, _FILTERS, _HIDDEN, _EPOCHS = 12, (24, 48), 128, 50


class Encoder(BaseEncoder):
    """`kerasgen.networks.conv_encoder` in PyTorch."""

    def __init__(self):
        super().__init__()
        self.latent_dim = _LATENT
        self.convolutions = nn.Sequential(
            nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(1, _FILTERS[0], 3, 2), nn.ReLU(),
            nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(_FILTERS[0], _FILTERS[1], 3, 2), nn.ReLU(), nn.Flatten(),
            nn.Linear(16 * _FILTERS[1], _HIDDEN), nn.ReLU(),
        )  # fmt: skip
        self.mean, self.log_var = nn.Linear(_HIDDEN, _LATENT), nn.Linear(_HIDDEN, _LATENT)
        self.apply(_like_keras)

    def forward(self, x):
        x = self.convolutions(x)
        return ModelOutput(embedding=self.mean(x), log_covariance=self.log_var(x))


class Decoder(BaseDecoder):
    """`kerasgen.networks.conv_decoder` in PyTorch."""

    def __init__(self):
        super().__init__()
        up = {"kernel_size": 3, "stride": 2, "padding": 1, "output_padding": 1}
        self.logits = nn.Sequential(
            nn.Linear(_LATENT, _HIDDEN), nn.ReLU(), nn.Linear(_HIDDEN, 16 * _FILTERS[1]), nn.ReLU(),
            nn.Unflatten(1, (_FILTERS[1], 4, 4)),
            nn.ConvTranspose2d(_FILTERS[1], _FILTERS[0], **up), nn.ReLU(),
            nn.ConvTranspose2d(_FILTERS[0], _FILTERS[0], **up), nn.ReLU(),
            nn.Conv2d(_FILTERS[0], 1, 3, padding=1),
        )  # fmt: skip
        self.apply(_like_keras)

    def forward(self, z):
        return ModelOutput(reconstruction=torch.sigmoid(self.logits(z)))


def _like_keras(module):
    if isinstance(module, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)):
        nn.init.xavier_uniform_(module.weight)
        nn.init.zeros_(module.bias)


def _channels_first(images):
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2))


def main(source: str, target: str, seed: int) -> None:
    torch.set_num_threads(2)
    torch.manual_seed(seed)
    arrays = np.load(source)
    train, test = (_channels_first(arrays[name]) for name in ("train", "test"))
    config = VAEConfig(input_dim=(1, 16, 16), latent_dim=_LATENT, reconstruction_loss="bce")
    vae = VAE(config, encoder=Encoder(), decoder=Decoder())
    with tempfile.TemporaryDirectory() as folder:
        training = BaseTrainerConfig(
            output_dir=folder, num_epochs=_EPOCHS, learning_rate=2e-3, per_device_train_batch_size=60, seed=seed,
            optimizer_cls="Adam", scheduler_cls="CosineAnnealingLR", scheduler_params={"T_max": _EPOCHS},
            no_cuda=True,
        )  # fmt: skip
        labels = torch.zeros(len(train))
        BaseTrainer(vae, BaseDataset(torch.from_numpy(train), labels), training_config=training).train()
    vae.eval()
    with torch.no_grad():
        posterior = vae.encoder(torch.from_numpy(test))
        z = posterior.embedding[:, None] + torch.exp(posterior.log_covariance / 2)[:, None] * torch.from_numpy(
            arrays["noise"]
        )
        logits = vae.decoder.logits(z.reshape(-1, _LATENT)).reshape(*z.shape[:2], -1)
    found = {"mean": posterior.embedding, "log_var": posterior.log_covariance, "logits": logits}
    found = {name: value.numpy() for name, value in found.items()}
    second = BaseTrainerConfig(num_epochs=100, learning_rate=2e-3, per_device_train_batch_size=128, no_cuda=True)
    for name, sampler, options in (
        ("pythae normal", NormalSampler(vae), None),
        ("pythae gaussian_mixture", GaussianMixtureSampler(vae, GaussianMixtureSamplerConfig(n_components=10)), {}),
        (
            "pythae two_stage",
            TwoStageVAESampler(vae, TwoStageVAESamplerConfig(second_layers_dim=256)),
            {"training_config": second},
        ),
    ):
        if options is not None:
            sampler.fit(torch.from_numpy(train), **options)
        images = sampler.sample(num_samples=len(test), return_gen=True)
        found[name] = images.numpy().transpose(0, 2, 3, 1)
    np.savez(target, **found)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
