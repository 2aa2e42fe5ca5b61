"""How large the checks are: on a card, and on a CPU where they test themselves."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Sizes:
    """What the checks take.

    Attributes:
        pixels: of CycleGAN's square pictures.
        blocks: of its generators.
        filters: of the first layer of its networks.
        vae_width: filters of the VAE's first layer.
        vae_batch: 28×28 pictures in a step of the VAE.
        steps: timed in a round.
        rounds: of which the median is taken.
        product: rows and columns of the matrix product that is the limit.
        patience: what the budgets of seconds, which are for a card, are multiplied by.
        needs_gpu: whether a check is refused where TensorFlow sees no GPU: it would take minutes there.
    """

    pixels: int
    blocks: int
    filters: int
    vae_width: int
    vae_batch: int
    steps: int
    rounds: int
    product: int
    patience: float
    needs_gpu: bool


LARGE = Sizes(256, 9, 64, vae_width=128, vae_batch=100, steps=15, rounds=3, product=8192, patience=1, needs_gpu=True)
SMALL = Sizes(32, 1, 8, vae_width=8, vae_batch=4, steps=1, rounds=2, product=256, patience=10, needs_gpu=False)
