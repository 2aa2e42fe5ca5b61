"""Train a preset of the zoo anew, measure it, and put its weights and card into saved_models/.

    python benchmarks/zoo.py NAME [--seed 0] [--epochs 10,20] [--runs runs/zoo]
    python benchmarks/zoo.py NAME --artifacts

It trains by the preset's own recipe (or goes on with the run that stands in RUNS/NAME), evaluates, exports every
network in every format and variant, measures those side by side, and writes `saved_models/NAME/`: config.json,
model.weights.h5, metadata.json, evaluation.json, artifacts.json, strip.png and README.md, the card. With
`--artifacts` it exports and measures what `saved_models/NAME/` holds, and writes that part of the card alone.
"""

import argparse
import os
import re
import tempfile
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import peers

LOT = 2026  # by which a strip's pictures are drawn
SAVED = Path(__file__).parents[1] / "saved_models"
DIGITS = (
    "The digits come with scikit-learn (E. Alpaydin and C. Kaynak, UCI Machine Learning Repository, CC BY 4.0).",
    "CC BY 4.0",
)
PHOTOS = (
    "Trained on china.jpg by danielbuechele and flower.jpg by vultilion, which come with scikit-learn.",
    "CC BY 2.0",
)
PICTURES = (
    "Trained on pictures that come with scikit-image and matplotlib, which are free of known copyright restrictions, "
    "and on flower.jpg by vultilion (CC BY 2.0), which comes with scikit-learn.",
    "CC BY 2.0",
)
LOMIRI = (
    "Trained on photographs of Debian's packages lomiri-wallpapers-16.04 and -20.04 by Sander Klootwijk, Bolly, "
    "freespace, Jakub Mede, Aitzol Berasategi, Peter Nerlich, Clemens Engelhardt, Aury88 and Lukas Baubkus (CC BY "
    "4.0, CC BY-SA 3.0 and 4.0, CC0), on pictures that come with scikit-image and matplotlib, which are free of "
    "known copyright restrictions, and on flower.jpg by vultilion (CC BY 2.0), which comes with scikit-learn.",
    "CC BY-SA 4.0",
)
OPENMOJI = (
    "All emojis designed by OpenMoji – the open-source emoji and icon project. License: CC BY-SA 4.0",
    "CC BY-SA 4.0",
)
SMEARED = (
    "What 8×8 places with four numbers each can't hold, such as lines a pixel apart or text, comes back smeared."
)
# By preset: attribution and license of what it was trained on, and what it doesn't do well.
SAID = {
    "vae_digits": (*DIGITS, "Strokes are softer than real ones; one digit in a hundred can't be told."),
    "flow_digits": (
        *DIGITS,
        "Here and there a gray dot stands beside a stroke; two digits in a hundred can't be told.",
    ),
    "flow_emoji_64": (*OPENMOJI, f"Rare kinds of drawings come out as mixtures of others. {SMEARED}"),
    "vq_digits": (*DIGITS, "It knows 16-pixel digits and nothing else."),
    "prior_digits": (*DIGITS, "It makes a digit code by code, and a slip is never mended."),
    "kl_emoji_64": (*OPENMOJI, SMEARED),
    "kl_emoji_64_augmented": (*OPENMOJI, SMEARED),
    "kl_tiny": (*OPENMOJI, SMEARED),
    "vq_emoji_64": (
        *OPENMOJI,
        "Lines a pixel apart and small text come back smeared; rare colors become usual ones.",
    ),
    "cyclegan_digits_ink": (*DIGITS, "It knows 16-pixel digits and nothing else."),
    "cyclegan_lines_emoji": (
        *OPENMOJI,
        "It never saw a drawing beside its colors: a thing gets a color that drawings have, seldom its own, and "
        "large areas are mottled or stay white.",
    ),
    "cyclegan_photo_dusk": (*PHOTOS, "It learned from pieces of two photographs; other scenes get their colors."),
    "face_super_resolution": (
        "Trained on 80 faces of Labeled Faces in the Wild (Huang et al. 2007), which come with scikit-image.",
        "For research and teaching: the photographs belong to their photographers",
        "It has seen 80 gray faces of 25 pixels; larger and colored ones are sharpened as any picture would be.",
    ),
    "super_resolution_x2": (
        *LOMIRI,
        "It knows pictures that were made small by bicubic reduction, and no JPEG blocks.",
    ),
    "super_resolution_x4": (
        *LOMIRI,
        "It knows pictures that were made small by bicubic reduction, and no JPEG blocks.",
    ),
    "denoising": (*LOMIRI, "It knows Gaussian noise, the same in all colors; a camera's noise is removed in part."),
    "enhancement": (
        *PICTURES,
        "It knows one kind of darkness and one color cast; others are changed as if they were that.",
    ),
    "inpainting": (*LOMIRI, "What it can't know of a hole it fills with a smooth mean of its surroundings."),
    "registration": (*PICTURES, "It knows smooth warps of a few pixels: edges of depth are bridged."),
    "registration_ncc": (*LOMIRI, "It knows smooth warps of a few pixels: edges of depth are bridged."),
    "sketch_to_emoji": (
        *OPENMOJI,
        "It knows 64-pixel drawings in OpenMoji's manner. What lines leave open, such as the color of a shirt or a "
        "rare object, comes out pale or in a usual color.",
    ),
    "sketch_to_emoji_mobile": (
        *OPENMOJI,
        "It has learned from sketch_to_emoji, and fails where that one does; see its card.",
    ),
    "cyclegan_lines_emoji_mobile": (
        *OPENMOJI,
        "It has learned from cyclegan_lines_emoji, one way alone, and fails where that one does; see its card.",
    ),
    "super_resolution_x2_mobile": (*LOMIRI, "What super_resolution_x2 can't guess, it can't either; see its card."),
    "denoising_mobile": (
        *LOMIRI,
        "It knows Gaussian noise, the same in all colors; other noise is removed in part.",
    ),
}
# These learn from more than what comes with the libraries, in batches of so many; their numbers are of what does.
# Low light and registration by squared differences gained nothing by it: see README.md.
PHOTOGRAPHED = {
    "super_resolution_x2": 16,
    "super_resolution_x4": 8,
    "denoising": 16,
    "inpainting": 16,
    "registration_ncc": 8,
    "super_resolution_x2_mobile": 16,
    "denoising_mobile": 4,
}


def photographs_for(name: str, folder: Path) -> str | None:
    """The source of a preset that learns from photographs, made if they aren't there; None for all others."""
    import photographs
    import tasks

    if not folder.exists() and name in {*PHOTOGRAPHED, *tasks.WHOLE}:
        photographs.make(folder)
    return f"folder:{folder}" if name in PHOTOGRAPHED else None


def on_photographs(name: str, model: Any, folder: Path) -> dict[str, dict[str, float]]:
    """Decibels of the input, the baseline and the model on each held-out photograph: 256 pixels of a halved one."""
    import tasks
    from PIL import Image

    task, found = name.removesuffix("_mobile"), {}
    for path in sorted((folder / "test").glob("*.png")):
        with Image.open(path) as image:
            truth = np.asarray(image, np.float32) / 255
        found[path.stem], _ = tasks.numbers(task, model, truth)
    return found


def artifacts_of(trained: Path) -> list[dict[str, Any]]:
    """Every network in every format and variant: bytes, PSNR against Keras, and milliseconds with one thread.

    A machine that has other things to do gives no milliseconds.
    """
    from kerasgen.commands.ship import shipments
    from kerasgen.export import GateError, available_formats, benchmark, export_model

    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for shipment in shipments(trained):
            mine, paths = [], []
            for format_name, variants in available_formats().items():
                for variant in variants:
                    row = {"network": shipment.name, "format": format_name, "variant": variant}
                    target = Path(folder, shipment.name)
                    try:
                        made = export_model(
                            shipment.network, target, format_name, variant, **shipment.options(format_name, variant)
                        )
                    except GateError as error:
                        rows.append(row | {"refused": str(error)})
                        continue
                    found = re.match(r"([\d.]+) dB", made.parity["checks"].get("parity", ""))
                    mine.append(row | {"bytes": made.bytes, "psnr_db": float(found[1]) if found else None})
                    paths.append(made.path)
            # The load of the last minute would tell of these exports themselves.
            if peers.busy_cores() > 0.2:
                rows += mine
                continue
            measured = benchmark(paths, shipment.network, shipment.inputs)
            rows += [row | {"one_thread_ms": m.single_ms} for row, m in zip(mine, measured, strict=True)]
    return rows


def strip_of(model: Any, arguments: dict[str, Any]) -> np.ndarray:
    """What a person should see first: generated pictures, or 14 held-out inputs and their results.

    Inputs are drawn by lot; so are the attributes of pictures, which come in combinations.
    """
    from kerasgen.data import LOADERS
    from kerasgen.drawing import grid, side_by_side

    if model.generates and not model.num_attributes:
        return grid(model.generate(40, seed=0), columns=10)
    batches = list(LOADERS[model.loader_for(arguments).name](split="test", **arguments))
    held_out = {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}
    count = min(map(len, held_out.values()))
    lot = np.sort(np.random.default_rng(LOT).permutation(count)[: 40 if model.generates else 14])
    if model.generates:
        return grid(model.generate(40, held_out["label"][lot], seed=0), columns=10)
    shown = model.preview(14, inputs={name: images[lot] for name, images in held_out.items()})
    # All weights and pictures together have 30 MB: what needs five rows shows half as many.
    return side_by_side({title: images[: 14 if len(shown) < 5 else 7] for title, images in shown.items()})


def score_in_the_dark(model: Any, arguments: dict[str, Any]) -> dict[str, float]:
    """The score where nothing is known of the pictures beside the pictures themselves."""
    from kerasgen.data import LOADERS

    def unknown(batch: dict[str, Any]) -> dict[str, Any]:
        a = np.array(batch["a"])
        a[..., 3:] = 0.0
        return {"a": a, "b": batch["b"]}

    return model.score(map(unknown, LOADERS[model.loader_for(arguments).name](split="test", **arguments)))


def headline_of(report: dict[str, Any]) -> str:
    """The one number that tells most, for `kerasgen list`."""
    if "likelihood" in report:
        return f"ELBO {report['likelihood']['test']['elbo']:.1f} nats"
    if "pictures" in report:
        return f"Fréchet distance {report['pictures']['prior']['frechet']:.1f}"
    if "psnr_truth" in report.get("score", {}):
        return "{psnr_truth:.1f} dB, its teacher {psnr_teacher_truth:.1f}".format(**report["score"])
    if "epe" in report.get("score", {}):
        return "{epe:.2f} pixels off, untouched {epe_identity:.2f}".format(**report["score"])
    if "score" in report:
        return f"{report['score']['psnr']:.1f} dB"
    return f"{report['translation']['a2b']['psnr']:.1f} dB"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=sorted(SAID))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--epochs", help="the ends of stages, as 10,20, each with the learning rate of the longer one"
    )
    parser.add_argument("--runs", type=Path, default=Path("runs/zoo"))
    parser.add_argument("--artifacts", action="store_true", help="export and measure the weights that are there")
    asked = parser.parse_args()
    target = SAVED / asked.name
    if not asked.artifacts:
        make(asked, target)
    # The longest part comes last: without it there is a card already.
    from kerasgen.commands.card import ARTIFACTS, write_card
    from kerasgen.runs import write_json

    write_json(target / ARTIFACTS, artifacts_of(target))
    print(f"Look at {write_card(target)}.")


def make(asked: argparse.Namespace, target: Path) -> None:
    """Train a preset, or go on with its run, and write its folder but for the artifacts."""
    from PIL import Image

    from kerasgen.commands.card import EVALUATION, STRIP, write_card
    from kerasgen.commands.evaluate import save_report
    from kerasgen.commands.train import train
    from kerasgen.presets import PresetFolder
    from kerasgen.runs import RunFolder, load_model

    run = RunFolder(asked.runs / asked.name)
    stages = [int(end) for end in asked.epochs.split(",")] if asked.epochs else None
    folder = asked.runs.parent / "photographs"
    source = photographs_for(asked.name, folder)
    if not run.model_file.exists():
        options = {"resume": run.exists(), "epochs": stages, "schedule": stages and "extend"}
        train(asked.name, run.path, source, seed=asked.seed, batch_size=PHOTOGRAPHED.get(asked.name), **options)
    config = run.config()
    if source:
        config["data"]["source"] = "pictures"
    attribution, license_, fails = SAID[asked.name]
    metadata = {name: config[name] for name in ("preset", "data", "seed", "recipe")}
    metadata |= {"recipe": {"epochs": config["epochs"], **config["recipe"]}}
    longer = f" --epochs {asked.epochs}" if asked.epochs else ""
    metadata |= {"command": f"python benchmarks/zoo.py {asked.name} --seed {config['seed']}{longer}", "fails": fails}
    metadata |= {"license": license_, "attribution": attribution}
    # What is measured is what ships: the rounded weights.
    run.model().save_to_preset(target, metadata, half=True)
    model, preset = load_model(target), PresetFolder(target)
    report = measured(model, target, config["data"], folder)
    told = {"numbers": report, "headline": headline_of(report)}
    told["caption"] = "Pictures from noise." if model.generates else "Held-out pictures, drawn by lot."
    preset.write(type(model).__name__, preset.config(type(model).__name__), {**preset.metadata(), **told})
    save_report(report, target / EVALUATION)
    Image.fromarray(strip_of(model, config["data"])).save(target / STRIP, optimize=True)
    write_card(target)


def measured(model: Any, target: Path, data: dict[str, Any], photographs: Path) -> dict[str, Any]:
    """What `kerasgen evaluate` says of trained weights, and what this zoo adds to it."""
    import tasks

    from kerasgen.commands.evaluate import evaluate

    report = evaluate(target)
    del report["run"]
    if target.name.removesuffix("_mobile") in tasks.WHOLE:
        report["photographs"] = on_photographs(target.name, model, photographs)
    if data.get("unknown"):
        report["score_without_condition"] = score_in_the_dark(model, data)
    return report


if __name__ == "__main__":
    main()
