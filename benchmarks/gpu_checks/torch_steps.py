"""PyTorch's step of the same networks, by the same algorithms."""

import itertools
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from cyclegan_step import torch_step
from torch import nn

from gpu_checks.sizes import Sizes

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
_PRODUCTS = 20


def limit(sizes: Sizes, folder: Path) -> Iterator[dict[str, object]]:
    """Operations a second of the matrix product, by type; "float32" may use TF32, as in TensorFlow's."""
    _prepare(sizes)
    for name in ("float32", "bfloat16", "float16"):
        left, right = (
            torch.randn(sizes.product, sizes.product, device=DEVICE).to(getattr(torch, name)) for _ in "ab"
        )

        def multiply(left: torch.Tensor = left, right: torch.Tensor = right) -> None:
            for _ in range(_PRODUCTS):
                torch.matmul(left, right)

        yield {name: 2 * sizes.product**3 * _PRODUCTS / _seconds(multiply, sizes.rounds)}


def cyclegan(sizes: Sizes, folder: Path) -> Iterator[dict[str, object]]:
    """Seconds of CycleGAN's step, in float32 and under autocast to bfloat16, and the device's peak memory."""
    _prepare(sizes)
    yield from _timed(lambda name: torch_step(sizes.pixels, sizes.blocks, name, DEVICE, sizes.filters), sizes)


def vae(sizes: Sizes, folder: Path) -> Iterator[dict[str, object]]:
    """Seconds of the VAE's step, likewise."""
    _prepare(sizes)
    yield from _timed(lambda name: vae_step(sizes.vae_batch, sizes.vae_width, name), sizes)


def vae_step(batch: int, width: int, precision: str) -> Callable[[], None]:
    """A function that makes one step of a VAE with pythae's networks for MNIST."""
    pictures = torch.rand(batch, 1, 28, 28, device=DEVICE)
    model = MnistVAE(width).to(DEVICE)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

    def step() -> None:
        with torch.autocast(DEVICE, torch.bfloat16, enabled=precision == "bfloat16"):
            logits, mean, log_var = model(pictures)
        loss = nn.functional.binary_cross_entropy_with_logits(logits.float(), pictures, reduction="sum")
        loss = (loss - 0.5 * (1 + log_var - mean.square() - log_var.exp()).float().sum()) / batch
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


class MnistVAE(nn.Module):
    """The networks that `vae_epoch.mnist_networks` builds in Keras."""

    def __init__(self, width: int, latent_dim: int = 16):
        super().__init__()
        self.widths = widths = (1, width, 2 * width, 4 * width, 8 * width)
        down = [nn.Conv2d(*pair, 4, 2, padding=1) for pair in itertools.pairwise(widths)]
        self.encoder = nn.Sequential(*_normed(down))
        self.mean, self.log_var = nn.Linear(widths[4], latent_dim), nn.Linear(widths[4], latent_dim)
        self.first = nn.Linear(latent_dim, widths[4] * 4 * 4)
        up = [
            nn.ConvTranspose2d(widths[4], widths[3], 3, 2, padding=1),
            nn.ConvTranspose2d(widths[3], widths[2], 3, 2, padding=1, output_padding=1),
        ]
        last = nn.ConvTranspose2d(widths[2], 1, 3, 2, padding=1, output_padding=1)
        self.decoder = nn.Sequential(*_normed(up), last)

    def forward(self, pictures: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        found = self.encoder(pictures).flatten(1)
        mean, log_var = self.mean(found), self.log_var(found)
        z = mean + (0.5 * log_var).exp() * torch.randn_like(mean)
        return self.decoder(self.first(z).reshape(-1, self.widths[4], 4, 4)), mean, log_var


def _normed(convolutions: list[nn.Module]) -> list[nn.Module]:
    """The convolutions, each with a norm and a ReLU behind it."""
    return [part for layer in convolutions for part in (layer, nn.BatchNorm2d(layer.out_channels), nn.ReLU())]


def _prepare(sizes: Sizes) -> None:
    if sizes.needs_gpu and DEVICE == "cpu":
        raise RuntimeError("PyTorch sees no GPU")
    torch.backends.cuda.matmul.allow_tf32 = True  # as TensorFlow does, and PyTorch's own convolutions
    torch.backends.cudnn.benchmark = True


def _timed(make: Callable[[str], Callable[[], None]], sizes: Sizes) -> Iterator[dict[str, object]]:
    yield {"device": torch.cuda.get_device_name() if DEVICE == "cuda" else DEVICE}
    for name in ("float32", "bfloat16"):
        step = make(name)
        if DEVICE == "cuda":
            torch.cuda.reset_peak_memory_stats()

        def steps(step: Callable[[], None] = step) -> None:
            for _ in range(sizes.steps):
                step()

        yield {name: _seconds(steps, sizes.rounds) / sizes.steps}
        if DEVICE == "cuda":
            yield {f"{name} peak_gib": torch.cuda.max_memory_allocated() / 2**30}


def _seconds(work: Callable[[], None], rounds: int) -> float:
    """Median seconds after a first time, the device's work included."""
    times = []
    for _ in range(rounds + 1):
        start = time.perf_counter()
        work()
        if DEVICE == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])
