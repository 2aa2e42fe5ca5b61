"""Every private name of Keras, TensorFlow and LiteRT that kerasgen leans on, asserted where it is used, at import.

Keras may rename what starts with an underscore in any release. Without these checks two of the names would fail by
wrong numbers rather than by an error. Keras is imported by the checks alone, so that this module costs nothing.
"""

import re
from collections.abc import Callable
from functools import cache
from types import SimpleNamespace
from typing import TYPE_CHECKING, NamedTuple

from kerasgen.errors import UserError

if TYPE_CHECKING:
    import keras

# What the name of a layer may be in TensorFlow's graphs.
_SCOPE = re.compile(r"[A-Za-z0-9.][A-Za-z0-9_.\\/>-]*")
# What the tests ran with; pyproject.toml pins the same minor versions.
TESTED = {"keras": "3.15", "tensorflow": "2.21", "ai-edge-litert": "2.3"}


class Hook(NamedTuple):
    """A private name.

    Attributes:
        package: the distribution that has it.
        owner: what has it, as a reader would write it.
        name: the private name.
        purpose: what kerasgen does by it.
    """

    package: str
    owner: str
    name: str
    purpose: str


SCHEDULE = (Hook("keras", "keras.optimizers.Optimizer()", "_learning_rate", "sees whether a schedule has ended"),)
TRAINING = (
    Hook("keras", "keras.Model", "_make_function", "trains on several workers"),
    Hook("keras", "keras.Model", "_maybe_symbolic_build", "keeps the order of the data under a strategy"),
    Hook("keras", "keras.optimizers.Optimizer", "_all_reduce_sum_gradients", "sums gradients over devices only once"),
    Hook("keras", "keras.optimizers.Optimizer()", "_trainable_variables", "accumulates gradients, averages weights"),
    *SCHEDULE,
)
GRAPH = (
    Hook("keras", "keras.Model(inputs, outputs)", "_nodes_by_depth", "finds sizes, and translates layers to ONNX"),
    Hook("keras", "keras.Model(inputs, outputs)", "_inputs_struct", "finds a nested model's inputs by name"),
    Hook("keras", "keras.Sequential()", "_functional", "finds sizes, and translates layers to ONNX"),
)
LAYERS = (Hook("keras", "keras.Model", "_flatten_layers", "copies weights, and exports mixed precision in float32"),)
EXPORT = (
    *LAYERS,
    *GRAPH,
    Hook("keras", "keras.layers.Lambda()", "_output_shape", "exports mixed precision in float32"),
    Hook("keras", "keras.Input()", "_keras_history", "names the outputs of artifacts"),
)
LITERT = (
    Hook("ai-edge-litert", "ai_edge_litert.interpreter.Interpreter", "_get_ops_details", "counts XNNPACK partitions"),
)

DEVICES = (Hook("tensorflow", "tensorflow.python.client.device_lib", "list_local_devices", "knows a GPU's memory"),)


def require_training_hooks() -> None:
    """Raise `UserError` unless Keras has the private names that training leans on."""
    import keras

    owners = {
        "keras.Model": lambda: keras.Model,
        "keras.optimizers.Optimizer": lambda: keras.optimizers.Optimizer,
        "keras.optimizers.Optimizer()": lambda: _set_by_constructors(keras.optimizers.Optimizer),
    }
    _require(TRAINING, owners)


def require_export_hooks() -> None:
    """Raise `UserError` unless Keras has the private names that the exporters lean on."""
    import keras

    owners = {
        "keras.Model": lambda: keras.Model,
        "keras.layers.Lambda()": lambda: keras.layers.Lambda(abs),
        "keras.Input()": lambda: keras.Input((1,)),
        **_graphs(),
    }
    _require(EXPORT, owners)


def functional_form(model: "keras.Model | keras.Function") -> "keras.Model | keras.Function | None":
    """Return the functional model whose nodes say all that a model computes; None if a `call` of its own does."""
    import keras

    call = type(model).call
    if call is keras.Sequential.call:
        return model._functional
    of_nodes = call is keras.Function.call or call.__qualname__ == "Functional.call"
    return model if of_nodes else None


def functional_nodes(model: "keras.Model | keras.Function") -> list:
    """Return the calls that a functional model or a sequence is made of, the inputs first; none of any other model.

    Raises:
        UserError: Keras lacks the private names that this leans on.
    """
    _require(GRAPH, _graphs())
    functional = functional_form(model)
    by_depth = {} if functional is None else functional._nodes_by_depth
    return [node for depth in sorted(by_depth, reverse=True) for node in by_depth[depth]]


def schedule_of(
    optimizer: "keras.optimizers.Optimizer",
) -> "keras.optimizers.schedules.LearningRateSchedule | None":
    """Return the schedule that an optimizer was given, itself rather than a copy; None if it was given a number.

    Raises:
        UserError: Keras lacks the private name that this leans on.
    """
    import keras

    _require(SCHEDULE, {"keras.optimizers.Optimizer()": lambda: _set_by_constructors(keras.optimizers.Optimizer)})
    found = optimizer._learning_rate
    return found if isinstance(found, keras.optimizers.schedules.LearningRateSchedule) else None


def name_for_tensorflow(model: "keras.Model") -> None:
    """Rename a model, and layers in it, whose names another backend took and TensorFlow's graphs can't have.

    Raises:
        UserError: Keras lacks the private name that this leans on.
    """
    import keras

    _require(LAYERS, {"keras.Model": lambda: keras.Model})
    for layer in model._flatten_layers():
        if not _SCOPE.fullmatch(layer.name):
            name = re.sub(r"[^A-Za-z0-9_.-]", "_", layer.name)
            layer.name = name if _SCOPE.fullmatch(name) else f"x{name}"


def copy_weights(target: "keras.Model", source: "keras.Model") -> None:
    """Give a model another one's weights, and what layers compute of theirs, which `set_weights` leaves as it was.

    Raises:
        UserError: Keras lacks the private name that this leans on.
        ValueError: the models have other weights.
    """
    import keras

    _require(LAYERS, {"keras.Model": lambda: keras.Model})
    target.set_weights(source.get_weights())
    for layer in target._flatten_layers():
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()


def given_to_inputs(model: "keras.Model", given: object) -> list:
    """Return what a functional model is called with in the order of its inputs, as Keras' own call finds them.

    Raises:
        UserError: Keras lacks the private name that this leans on.
    """
    import keras

    _require(GRAPH, _graphs())
    model = model._functional if isinstance(model, keras.Sequential) else model
    structure = getattr(model, "_inputs_struct", None)  # a model that isn't functional has none
    if isinstance(given, dict) and isinstance(structure, dict):
        given = {name: given[name] for name in structure}
    elif isinstance(given, dict) and structure is not None:
        names = [tensor.name for tensor in keras.tree.flatten(structure)]
        given = [given[name] for name in names] if set(names) <= given.keys() else given
    return keras.tree.flatten(given)


def _graphs() -> dict[str, Callable[[], object]]:
    import keras

    def functional() -> keras.Model:
        image = keras.Input((1,))
        return keras.Model(image, image)

    def sequence() -> keras.Model:
        return keras.Sequential([keras.Input((1,)), keras.layers.Identity()])

    return {"keras.Model(inputs, outputs)": functional, "keras.Sequential()": sequence}


def require_litert_hooks() -> None:
    """Raise `UserError` unless LiteRT has the private name that the gate leans on."""
    from ai_edge_litert.interpreter import Interpreter

    _require(LITERT, {"ai_edge_litert.interpreter.Interpreter": lambda: Interpreter})


@cache
def gpu_memory() -> int:
    """Return the bytes of the first GPU that TensorFlow takes at most, in use or not.

    Raises:
        UserError: TensorFlow lacks the private name that this leans on.
    """
    from tensorflow.python.client import device_lib

    _require(DEVICES, {"tensorflow.python.client.device_lib": lambda: device_lib})
    return next(device.memory_limit for device in device_lib.list_local_devices() if device.device_type == "GPU")


def _set_by_constructors(cls: type) -> object:
    """Return an object with all names that the constructors of a class use.

    An optimizer has variables, and to make one would fix TensorFlow's devices before the user could choose them.
    """
    constructors = [
        vars(base)["__init__"].__code__ for base in cls.__mro__ if "__init__" in vars(base) and base is not object
    ]
    return SimpleNamespace(**{name: None for code in constructors for name in code.co_names})


def _require(hooks: tuple[Hook, ...], owners: dict[str, Callable[[], object]]) -> None:
    from importlib.metadata import version

    for package, owner, name, purpose in hooks:
        if not hasattr(owners[owner](), name):
            raise UserError(
                f"{package} {version(package)} doesn't have {owner}.{name}, by which kerasgen {purpose}: "
                f"install a tested version by `pip install '{package}~={TESTED[package]}.0'`."
            )
