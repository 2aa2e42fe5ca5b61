"""Other weights to begin with: what fits is taken, what doesn't is named."""

import warnings
from collections.abc import Iterator

import keras

from kerasgen.errors import UserError
from kerasgen.models import GenerativeModel
from kerasgen.runs import load_model

_NAMED = 5  # weights at most in one warning


def start_from(model: GenerativeModel, origin: str) -> None:
    """Put the weights of another model into a new one, where name and shape agree.

    A model of this zoo gives each of its networks to the network of that name; a network alone goes into each
    network of the new model that it fits.

    Args:
        model: new, built.
        origin: a run folder, a `.keras` file or the name of a preset with trained weights.

    Raises:
        UserError: there is no such model, or none of its weights fits.
    """
    given = dict(_named(load_model(origin)))
    alone = {name: value for (network, name), value in given.items() if network is None}
    taken, left = [], []
    for (network, name), variable in _named(model):
        found = given.get((network, name), alone.get(name))
        if found is not None and tuple(found.shape) == tuple(variable.shape):
            variable.assign(found)
            taken.append(name)
        else:
            left.append(f"{network}/{name}" if network else name)
    if not taken:
        raise UserError(
            f"None of the weights of {origin} fits this model: give one of the same kind of network, or leave "
            "--from out."
        )
    if left:
        more = f" and {len(left) - _NAMED} more" if len(left) > _NAMED else ""
        warnings.warn(
            f"{len(taken)} of {len(taken) + len(left)} weights are those of {origin}; new are "
            f"{', '.join(left[:_NAMED])}{more}.",
            stacklevel=2,
        )


def _named(model: keras.Model) -> Iterator[tuple[tuple[str | None, str], keras.Variable]]:
    """Yield a model's weights by network and name; a network alone has no name of its own to go by.

    Seeds, pools and counters are left out: they belong to a training rather than to what was learned. So is a first
    stage, which the new model was given.
    """
    if not isinstance(model, GenerativeModel):
        for variable in model.weights:
            yield (None, variable.path), variable
        return
    inside = set()
    for network in model.layers:
        if isinstance(network, keras.Model) and not isinstance(network, GenerativeModel):
            for variable in network.weights:
                inside.add(id(variable))
                yield (network.name, variable.path), variable
    for variable in model.learned_variables:
        if id(variable) not in inside:
            yield ("", variable.path.rpartition("/")[2]), variable
