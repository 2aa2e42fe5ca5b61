"""Metrics of generative models."""

from kerasgen.metrics.distances import frechet_distance, kernel_distance, nearest_distances, neighbors
from kerasgen.metrics.images import psnr, ssim
from kerasgen.metrics.likelihood import bits_per_dim, iwae_bound

__all__ = [
    "bits_per_dim",
    "frechet_distance",
    "iwae_bound",
    "kernel_distance",
    "nearest_distances",
    "neighbors",
    "psnr",
    "ssim",
]
