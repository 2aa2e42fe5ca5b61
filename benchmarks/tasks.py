"""The article's tasks on whole photographs that training never saw: chelsea and china.

    python benchmarks/tasks.py [--tasks denoising,inpainting] [--seeds 0,1,2] [--runs FOLDER] [--pictures FOLDER]

Trains each preset that has no run in the folder yet, and prints its numbers beside the untouched input's and the
classical baselines'. PSNR in dB: super-resolution on luma without a rim of 4 pixels, inpainting inside the holes of
all 64×64 crops together (and the mean of the single crops), else over all pixels and channels. Registration: endpoint
error as a share of the identity's. The recipes were chosen while looking at these two photographs, beside coffee and
flower held out of the training: what the numbers promise for other pictures is an estimate.

With --pictures, writes input | classical baseline | output | truth of the first seed; for registration, moving |
aligned | fixed and the differences before and after.
"""

import argparse
import os
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf
from skimage import restoration

from kerasgen.commands.train import train
from kerasgen.data import load_paired, load_registration
from kerasgen.data.degradations import LowLight, degradation
from kerasgen.data.sources.pictures import TEST, picture
from kerasgen.drawing import save_png, side_by_side
from kerasgen.models import find
from kerasgen.runs import load_model

_SEED = tf.constant([7, 7], tf.int64)
_SIGMA = 0.1  # of the noise that denoising is measured with
_SHOWN = 88  # pixels of the squares in the pictures


def psnr(images: np.ndarray, truth: np.ndarray) -> float:
    return float(-10 * np.log10(np.mean((np.clip(images, 0, 1) - truth) ** 2)))


def luma_psnr(images: np.ndarray, truth: np.ndarray) -> float:
    luma = np.float32([0.299, 0.587, 0.114])
    inner = slice(4, -4)
    return psnr((np.clip(images, 0, 1) @ luma)[inner, inner], (truth @ luma)[inner, inner])


def whole(name: str) -> np.ndarray:
    """A photograph with sides divisible by 8, float32 in [0, 1]."""
    image = picture(name)
    height, width = (s // 8 * 8 for s in image.shape[:2])
    return (image[:height, :width] / 255).astype("float32")


def quantized(image: np.ndarray) -> np.ndarray:
    """As an 8-bit file would hold it."""
    return np.round(np.clip(image, 0, 1) * 255).astype("float32") / 255


def output(model, image: np.ndarray) -> np.ndarray:
    return model.translate(image * 2 - 1) * 0.5 + 0.5


def bicubic(small: np.ndarray, truth: np.ndarray) -> np.ndarray:
    return np.clip(tf.image.resize(small, truth.shape[:2], "bicubic", antialias=True).numpy(), 0, 1)


def non_local_means(image: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Told the true sigma, and the h that is best for this very picture, which nobody can know without the truth."""
    options = {"patch_size": 5, "patch_distance": 6, "sigma": _SIGMA, "fast_mode": True, "channel_axis": -1}
    answers = [restoration.denoise_nl_means(image, h=share * _SIGMA, **options) for share in (0.4, 0.6, 0.8, 1.0)]
    return max(answers, key=lambda answer: psnr(answer, truth))


def exact_inverse(image: np.ndarray, _: np.ndarray) -> np.ndarray:
    return LowLight().inverse(image)


WHOLE: dict[str, tuple[str, Callable, Callable]] = {
    "super_resolution_x2": ("bicubic", bicubic, luma_psnr),
    "super_resolution_x4": ("bicubic", bicubic, luma_psnr),
    "denoising": ("non-local means", non_local_means, psnr),
    "enhancement": ("exact inverse", exact_inverse, psnr),
}


def degraded(task: str, truth: np.ndarray) -> np.ndarray:
    """What a task is given: the preset's own degradation, of one sigma where that has a range."""
    config = {"kind": "noise", "sigma": _SIGMA} if task == "denoising" else find(task)[1].data["degradation"]
    return quantized(degradation(config)(tf.constant(truth), _SEED).numpy())


def numbers(task: str, model, truth: np.ndarray) -> tuple[dict[str, float], list[np.ndarray]]:
    """Decibels of the input, the baseline and the model on a whole photograph, and their pictures."""
    _, baseline, measure = WHOLE[task]
    image = degraded(task, truth)
    before = bicubic(image, truth) if image.shape != truth.shape else image
    answers = [before, baseline(image, truth), output(model, image)]
    return dict(zip(("input", "baseline", "model"), (measure(a, truth) for a in answers), strict=True)), answers


def photographs(task: str, model, pictures: Path | None) -> dict[str, list[float]]:
    """Print and return the numbers of each photograph: of the input, the baseline and the model; draw if asked."""
    name_of_baseline, columns, found = WHOLE[task][0], [], {}
    for name in TEST:
        truth = whole(name)
        values, answers = numbers(task, model, truth)
        found[name] = list(values.values())
        print(
            f"  {name:8s} input {values['input']:.2f}, {name_of_baseline} {values['baseline']:.2f}, {task} "
            f"{values['model']:.2f} dB",
            flush=True,
        )
        columns.append([center(picture) for picture in (*answers, truth)])
    if pictures:
        titles = ("input", name_of_baseline, task.replace("_", " "), "truth")
        if name_of_baseline == "bicubic":  # the input enlarged is the baseline: show the input's own pixels
            for row, name in zip(columns, TEST, strict=True):
                small = degraded(task, whole(name))
                factor = round(whole(name).shape[0] / small.shape[0])
                row[0] = center(small.repeat(factor, 0).repeat(factor, 1))
        shown = {title: np.stack([row[i] for row in columns]) for i, title in enumerate(titles)}
        save_png(pictures / f"task_{task}.png", side_by_side(shown))
    return found


def center(image: np.ndarray) -> np.ndarray:
    top, left = ((s - _SHOWN) // 2 for s in image.shape[:2])
    return image[top : top + _SHOWN, left : left + _SHOWN]


def holes(task: str, model, pictures: Path | None) -> None:
    """Inpainting of 64×64 crops: pooled, and by crop."""
    config = find(task)[1].data
    errors, crops, shown = {}, {}, []
    for batch in load_paired(split="test", **config):
        a, b = batch["a"].numpy(), batch["b"].numpy() * 0.5 + 0.5
        outputs = output(model, batch["a"].numpy() * 0.5 + 0.5)
        for image, truth, filled in zip(a, b, outputs, strict=True):
            hole = image[..., 3] < 0
            known = image[..., :3] * 0.5 + 0.5
            mean = np.where(hole[..., None], known[~hole].mean(0), known)
            smooth = restoration.inpaint_biharmonic(known, hole, channel_axis=-1)
            for name, answer in (("mean fill", mean), ("biharmonic", smooth), (task, filled)):
                squares = (np.clip(answer, 0, 1)[hole] - truth[hole]) ** 2
                errors.setdefault(name, []).append(squares.ravel())
                crops.setdefault(name, []).append(-10 * np.log10(squares.mean() + 1e-12))
            shown.append((known, smooth, filled, truth))
    for name, found in errors.items():
        pooled = -10 * np.log10(np.concatenate(found).mean())
        print(
            f"  {name:10s} in the hole: pooled {pooled:.2f}, mean of crops {np.mean(crops[name]):.2f} dB", flush=True
        )
    if pictures:
        titles = ("input", "biharmonic", task, "truth")
        rows = {t: np.clip(np.stack([s[i] for s in shown[:6]]), 0, 1) for i, t in enumerate(titles)}
        save_png(pictures / f"task_{task}.png", side_by_side(rows))


def registered(task: str, model, pictures: Path | None) -> None:
    """Known warps, and the stereo pair whose disparity is known."""
    dataset = load_registration(split="test", **find(task)[1].data)
    scores = model.score(dataset)
    folded = scores["negative_jacobian"]
    print(
        f"  warps: endpoint error {scores['epe']:.3f} px, identity {scores['epe_identity']:.3f}, ratio "
        f"{scores['epe_ratio']:.3f}, negative Jacobian {folded:.3%}"
    )
    left, right, disparity = motorcycle()
    _, flow = model.align(right * 2 - 1, left * 2 - 1)
    valid = np.isfinite(disparity)
    error = np.hypot(flow[..., 0], flow[..., 1] + disparity)[valid].mean()
    print(f"  stereo_motorcycle: endpoint error {error:.3f} px, identity {disparity[valid].mean():.3f}", flush=True)
    if pictures:
        save_png(pictures / f"task_{task}.png", side_by_side(model.preview(3, inputs=next(iter(dataset)))))


def motorcycle(factor: int = 10) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """scikit-image's stereo pair made so small that the disparity is a few pixels; NaN where it isn't known."""
    from skimage import data

    left, right, disparity = data.stereo_motorcycle()
    height, width = (s // factor for s in disparity.shape)
    small = [tf.image.resize(i / 255.0, (height, width), "area").numpy().astype("float32") for i in (left, right)]
    blocks = disparity[: height * factor, : width * factor].reshape(height, factor, width, factor)
    finite = np.isfinite(blocks).all((1, 3))
    means = np.where(finite, np.where(np.isfinite(blocks), blocks, 0).mean((1, 3)) / factor, np.nan)
    return small[0], small[1], means


MEASURES = {
    **dict.fromkeys(WHOLE, photographs),
    "inpainting": holes,
    "registration": registered,
    "registration_ncc": registered,
}


def trained(task: str, folder: Path, seed: int):
    """The preset's model; prints what the training cost on all cores together, with its validation and pictures."""
    start = time.process_time()
    model = train(task, folder, seed=seed).model
    print(f"  trained in {time.process_time() - start:.0f} s of processor time", flush=True)
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", default=",".join(MEASURES), help="which, separated by commas")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--runs", type=Path, default=Path("runs/tasks"))
    parser.add_argument("--pictures", type=Path, help="a folder for the pictures of the first seed")
    arguments = parser.parse_args()
    seeds = [int(seed) for seed in arguments.seeds.split(",")]
    for task in arguments.tasks.split(","):
        for seed in seeds:
            folder = arguments.runs / f"{task}_{seed}"
            print(f"{task}, seed {seed}:", flush=True)
            model = load_model(folder) if (folder / "model.keras").exists() else trained(task, folder, seed)
            MEASURES[task](task, model, arguments.pictures if seed == seeds[0] else None)


if __name__ == "__main__":
    main()
