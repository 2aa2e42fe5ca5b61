"""Every model of `MODEL_MODULES` trains, is saved, goes on to the bit, and is one on two devices."""

import inspect
import json
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasgen.errors import UserError
from kerasgen.models import MODEL_MODULES, GenerativeModel
from kerasgen.training.checkpoints import Checkpoints
from kerasgen.training.health import Weight

from .cases import CASES, MODELS, ModelCase

every_model = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


def compiled(case: ModelCase) -> GenerativeModel:
    keras.utils.set_random_seed(0)
    model = case.make()
    model.compile_for_recipe(2, 2)
    return model


def batches(case: ModelCase) -> tf.data.Dataset:
    """Two batches of four."""
    return tf.data.Dataset.from_tensor_slices(dict(case.data())).batch(4)


def trained(model: GenerativeModel, case: ModelCase, folder: Path, epochs: int) -> dict[str, np.ndarray]:
    """Every variable after so many epochs of two steps, from where the folder's checkpoints stand."""
    kept = Checkpoints(folder, steps_per_epoch=2, monitor=model.judged_by())
    first = kept.restore(model) // 2
    options = {"initial_epoch": first, "epochs": epochs, "shuffle": False, "verbose": 0, "callbacks": [kept]}
    model.fit(batches(case), validation_data=batches(case), **options)
    return {f"{g} {i}": np.array(v) for g, found in model.training_variables.items() for i, v in enumerate(found)}


def test_every_model_has_a_case():
    assert {module.MODEL for module in MODEL_MODULES} == set(MODELS)


@every_model
def test_what_it_declares_fits_together(case):
    from kerasgen.data import LOADERS

    model, batch = case.make(), next(iter(batches(case)))
    assert model.reports[0].on_bar
    assert all(loader.name in LOADERS for loader in model.loaders)
    assert model.reported(model.judged_by()[0]).better in ("lower", "higher")
    exported, examples = model.networks_to_export(), model.example_inputs(batch)
    assert exported.keys() <= examples.keys()
    for name, network in exported.items():
        for other in (name, *network.also):
            outputs = keras.tree.flatten({**{name: network.network}, **network.also}[other](examples[other]))
            assert all(len(output) == 4 and np.isfinite(output).all() for output in outputs)
    assert model.picture_shape[2] == next(iter(case.data().values())).shape[-1]
    assert {sign.name for sign in model.signs if not isinstance(sign, Weight)} <= {r.name for r in model.reports}
    answers = model.answers(batch)
    if answers is not None:  # a model that knows nothing of its own pictures leaves the verdict to the logs
        assert answers.made.shape == answers.right.shape if answers.right is not None else answers.returned.shape
        assert answers.errors.shape == (4,)
    assert bool(model.translators()) or model.generates or model.evaluation in ("pairs", "score")


@every_model
def test_its_arguments_are_recorded_once_and_give_it_again(case, tmp_path):
    """By its configuration and by a file, though it was never fitted: its optimizers and seeds come too."""
    model = case.make()
    config = model.get_config()
    again = type(model).from_config(config)
    assert again.get_config() == config
    assert [v.shape for v in again.variables] == [v.shape for v in model.variables]
    with pytest.raises(ValueError, match="call `compile"):
        model.fit(batches(case))
    model.compile_for_recipe(2, 2)
    for variable in model.variables:
        if variable.dtype == "uint32":  # a seed
            variable.assign(variable + 3)
    model.save(tmp_path / "model.keras")
    before, after = model.training_variables, keras.models.load_model(tmp_path / "model.keras").training_variables
    assert {group: len(found) for group, found in after.items()} == {g: len(found) for g, found in before.items()}
    for one, two in zip(keras.tree.flatten(before), keras.tree.flatten(after), strict=True):
        np.testing.assert_array_equal(one, two, err_msg=one.path)


@every_model
def test_a_subclass_takes_arguments_of_its_own_and_keeps_the_models(case, tmp_path):
    model = case.make()
    model_class, config = type(model), model.get_config()

    class Own(model_class):
        def __init__(self, *args, extra: int = 3, **kwargs):
            super().__init__(*args, **kwargs)
            self.extra = extra

    own = Own.from_config({**config, "extra": 5})
    assert own.extra == 5
    assert own.get_config() == config
    own.compile_for_recipe(2, 2)
    own.save(tmp_path / "own.keras")
    again = keras.models.load_model(tmp_path / "own.keras", custom_objects={"Own": Own})
    assert (type(again), again.extra) == (Own, 3)  # what a subclass adds is its own configuration's business
    assert json.dumps(again.get_config()) == json.dumps(config)
    for one, two in zip(own.weights, again.weights, strict=True):
        np.testing.assert_array_equal(one, two, err_msg=one.path)


@every_model
def test_what_should_be_a_network_is_one(case):
    model = case.make()
    for name, parameter in inspect.signature(type(model).__init__).parameters.items():
        if "Model" in str(parameter.annotation):
            with pytest.raises(UserError, match=f"^{name} is an int, but a network is needed"):
                type(model).from_config({**model.get_config(), name: 3})


@every_model
def test_data_and_files_that_do_not_fit_get_a_sentence(case, tmp_path):
    model, data = compiled(case), case.data()
    with pytest.raises(UserError, match=r"but got \['[^']+s'"):
        model.fit({f"{name}s": value for name, value in data.items()}, verbose=0)
    for shape, said in ((None, "have no known number of axes"), ((16, 16, 3), "give several at once")):
        signature = {name: tf.TensorSpec(shape) for name in data}
        dataset = tf.data.Dataset.from_generator(lambda: iter([data]), output_signature=signature)
        with pytest.raises(UserError, match=said):
            model.fit(dataset, verbose=0)
    for name in ("model.h5", "model.weights.h5", "model"):
        with pytest.raises(UserError, match=rf"{name} doesn't end with \.keras"):
            model.save(tmp_path / name)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@every_model
def test_it_trains_goes_on_to_the_bit_and_is_saved(case, tmp_path):
    # As `train` does on CPUs: without it some kernels add in the order in which their threads end.
    tf.config.experimental.enable_op_determinism()
    model = compiled(case)
    before = [np.array(v) for v in model.trainable_variables]
    undisturbed = trained(model, case, tmp_path / "checkpoints", epochs=2)
    assert any((a != b).any() for a, b in zip(before, map(np.array, model.trainable_variables), strict=True))
    # As if it had been killed in the second epoch: what it wrote after the first is all that there is.
    _, last = sorted((tmp_path / "checkpoints").glob("step_*.npz"))
    last.unlink()
    resumed = trained(compiled(case), case, tmp_path / "checkpoints", epochs=2)
    assert last.exists()
    assert resumed.keys() == undisturbed.keys()
    for name, value in undisturbed.items():
        np.testing.assert_array_equal(resumed[name], value, err_msg=name)

    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    # A tuple comes back as a list.
    assert json.dumps(loaded.get_config()) == json.dumps(model.get_config())
    expected = model.evaluate(batches(case), return_dict=True, verbose=0)
    assert loaded.evaluate(batches(case), return_dict=True, verbose=0) == pytest.approx(expected, abs=1e-6)
    assert set(expected) <= {reported.name for reported in model.reports}
    batch = next(iter(batches(case)))
    for one, two in zip(keras.tree.flatten(model(batch)), keras.tree.flatten(loaded(batch)), strict=True):
        np.testing.assert_array_equal(one, two)
    pictures, same = (m.preview(n=2, seed=1, inputs=batch) for m in (model, loaded))
    for title, images in pictures.items():
        assert images.shape[0] == 2
        assert 0 <= images.min() <= images.max() <= 1
        np.testing.assert_array_equal(same[title], images)


@pytest.mark.slow
@every_model
def test_it_trains_in_mixed_precision(case):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = compiled(case)
        history = model.fit(batches(case), epochs=1, verbose=0, shuffle=False).history
    finally:
        keras.config.set_dtype_policy("float32")
    assert all(np.isfinite(values[-1]) for values in history.values())
    assert {v.dtype for v in model.trainable_variables} == {"float32"}
    network = next(iter(model.networks_to_export().values())).network
    assert any(layer.compute_dtype == "bfloat16" for layer in network.layers)


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_two_replicas_are_one(name, warm, tmp_path):
    """Two logical processors stand for two devices."""
    command = ("-W", "ignore", "-m", "tests.conformance.replicas", name, tmp_path / "result.npz")
    result = warm.run(*command, cwd=Path(__file__).parents[2])
    assert result.returncode == 0, result.stderr[-3000:]
    with np.load(tmp_path / "result.npz") as archive:
        found = {name: archive[name] for name in archive.files}
    learned = []
    for variable in [name for name in found if name.startswith("one after ")]:
        before, one, two = (
            found[variable.replace("one after", which)] for which in ("one before", "one after", "two after")
        )
        # What is compared is how far it went: twice as far would be a gradient that was summed twice.
        step, rounding = np.linalg.norm(one - before), 3e-7 * np.linalg.norm(before)
        assert np.linalg.norm(two - one) <= 0.01 * step + rounding, variable
        learned.append(step > 100 * rounding)
    assert any(learned)
