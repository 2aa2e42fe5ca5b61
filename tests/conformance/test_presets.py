"""Every preset, made small, through its whole life: a run, its numbers, its pictures, its artifacts."""

import json

import numpy as np
import pytest
from PIL import Image

from kerasgen.commands.settings import settings_of
from kerasgen.commands.ship import shipments
from kerasgen.commands.train import train
from kerasgen.declared import check_monitor, described_presets, preset_names, reported_names, setting_names
from kerasgen.errors import UserError
from kerasgen.export import available_formats, export_model
from kerasgen.models import PairedTranslator, presets
from kerasgen.runs import RunFolder

from .cases import PRESETS, PresetCase


def test_every_preset_has_a_case():
    assert list(presets()) == list(described_presets())
    assert presets().keys() == PRESETS.keys() == preset_names()


@pytest.mark.parametrize("name", PRESETS)
def test_what_is_read_off_the_files_is_what_the_code_has(name):
    model_class, preset = presets()[name]
    ways = [settings_of(model_class, preset, loader) for loader in model_class.loaders]
    assert set(setting_names(name)) == {setting for way in ways for setting in way}
    for reported in reported_names(name):
        if model_class.reported(reported).better is None:
            with pytest.raises(
                UserError, match=f"'{reported}' doesn't judge the model: .* {model_class.judged_by()[0]!r}"
            ):
                check_monitor(name, reported)
        else:
            check_monitor(name, reported)
    size = preset.data.get("image_size")
    assert described_presets()[name] == (preset.description, preset.macs, size)
    names = {reported.name for reported in model_class.reports}
    assert {f"val_{n}" for n in names} <= set(reported_names(name)) <= {f"val_{n}" for n in names} | names


def sources(case: PresetCase, pictures) -> tuple[str, ...] | None:
    others = str(pictures.with_name("others"))
    return case.sources and tuple(
        source.replace("PICTURES", str(pictures)).replace("OTHERS", others) for source in case.sources
    )


def settings(case: PresetCase, tmp_path) -> dict[str, object]:
    if case.first_stage is not None:
        case.first_stage().save_to_preset(tmp_path / "first_stage")
        return {**case.settings, "first_stage": str(tmp_path / "first_stage")}
    if case.teacher is None:
        return dict(case.settings)
    kind, options = case.teacher
    teacher, random = PairedTranslator(kind, generator_options=options), np.random.default_rng(0)
    # As it is made, it answers as its student does.
    teacher.set_weights([weight + random.normal(0, 0.05, weight.shape) for weight in teacher.get_weights()])
    teacher.save_to_preset(tmp_path / "teacher")
    return {**case.settings, "teacher": str(tmp_path / "teacher")}


@pytest.mark.slow
@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_lives(name, kerasgen, pictures, features, faces_with_attributes, tmp_path):
    case, folder = PRESETS[name], tmp_path / "run"
    run = train(name, folder, sources(case, pictures), epochs=1, settings=settings(case, tmp_path))
    written = {path.name for path in folder.iterdir()}
    assert {"config.json", "log.csv", "model.keras", "curves.png", run.model.preview_file} <= written
    assert all(np.isfinite(values).all() for values in run.history.values())
    assert RunFolder(folder).config()["preset"] == name
    with Image.open(folder / "pictures" / "epoch_0001.png") as picture:
        assert picture.width > 40

    is_measured(kerasgen, folder, case, features, run.model.evaluation)
    makes_pictures(kerasgen, run, pictures, tmp_path)
    if case.exported:
        shipment = shipments(folder)[0]
        for format in available_formats():
            options = shipment.options(format)
            assert export_model(shipment.network, tmp_path / "artifact", format, **options).path.exists()


def is_measured(kerasgen, folder, case: PresetCase, features, kind: str) -> None:
    """`kerasgen evaluate` prints a table of finite numbers, which it also writes."""
    options = () if case.extractor else ("--features", features)
    code, said, errors = kerasgen("evaluate", folder, "--k", 2, *options)
    assert code == 0, errors
    report = json.loads((folder / "evaluation.json").read_text())
    tables = {
        "generation": ("likelihood", "pictures"),
        "pictures": ("pictures",),
        "translation": ("translation",),
        "pairs": ("score", "likeness"),
        "score": ("score",),
    }[kind]
    for table in tables:
        assert table in said
        rows = report[table] if table != "score" else {"score": report[table]}
        numbers = [value for row in rows.values() for value in row.values() if isinstance(value, float | int)]
        assert numbers
        assert np.isfinite(numbers).all()


def makes_pictures(kerasgen, run, pictures, tmp_path) -> None:
    """What generates, generates; what translates, translates a folder; all else says in a sentence that it can't."""
    made = tmp_path / "made"
    code, _, errors = kerasgen("generate", run.folder, "--output", made, "--n", 2)
    assert code == (0 if run.model.generates else 2), errors
    assert (made / "0001.png").is_file() == run.model.generates
    directions = run.model.translators()
    for direction in directions or ("a2b",):
        output = tmp_path / direction
        options = ("--input", pictures / "test", "--output", output, "--direction", direction)
        code, _, errors = kerasgen("translate", run.folder, *options)
        assert code == (0 if directions else 2), errors
        assert len(list(output.glob("*.png"))) == (6 if directions else 0)
