"""What a user tells of pictures, for a model that was trained on pairs with a condition."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from kerasgen.data.loading import find_kind
from kerasgen.errors import UserError
from kerasgen.typing import Config

if TYPE_CHECKING:
    import keras

    from kerasgen.models import GenerativeModel


def without_condition(
    model: "keras.Model", data: Mapping[str, Config] | None, given: Sequence[str] = ()
) -> "keras.Model":
    """Return a model that takes pictures alone: the model itself, or its generator with what is known settled.

    A drawing of another size than those of the training is colored at theirs.

    Args:
        model: of this zoo, or a generator alone.
        data: the arguments of the loader that it was trained with; None where nobody knows them.
        given: such as "tone=dark"; a fact that isn't given is unknown.

    Raises:
        UserError: something is given that the model doesn't take, or left out that it wasn't trained to do without.
    """
    numbers = known_numbers(data, given)
    if not numbers or data is None:
        return model
    from kerasgen.networks.told import told

    return told(_generator(model, data.get("image_size")), numbers)


def known_numbers(data: Mapping[str, Config] | None, given: Sequence[str] = ()) -> list[float]:
    """Return the numbers that a model takes beside a picture's own channels; none for one without conditions.

    Args:
        data: the arguments of the loader that it was trained with; None where nobody knows them.
        given: such as "tone=dark"; a fact that isn't given is unknown.

    Raises:
        UserError: as `without_condition`.
    """
    facts = _facts(data or {})
    said: dict[str, str] = {}
    for name, word in map(_parted, given):
        if name in said:
            raise UserError(f"The condition {name!r} is given twice, as {said[name]} and as {word}: give it once.")
        said[name] = word
        if name not in facts:
            known = f"it takes {', '.join(facts)}" if facts else "it takes none"
            raise UserError(f"The condition {name!r} is not one of this model's: {known}.")
    if not facts or data is None:
        return []
    kind, _ = find_kind(data["source_a"])
    numbers: list[float] = []
    for name in facts:
        words = kind.facts.get(name)
        if not words:
            raise UserError(
                f"The model was trained with the condition {name!r} of {data['source_a']!r}, which has no words for "
                "it: give `model.translate` pictures with its numbers as further channels."
            )
        if name not in said and not data.get("unknown"):
            raise UserError(f"The model needs to be told {name}: give --condition {name}=WORD, {_one_of(words)}.")
        if name in said and said[name] not in words:
            raise UserError(f"The condition {name} is {said[name]!r}: choose {_one_of(words)}.")
        numbers += words[said[name]] if name in said else [0.0] * len(next(iter(words.values())))
    return numbers


def _facts(data: Mapping[str, Config]) -> list[str]:
    """Return the facts among a loader's conditions; the others are pictures."""
    condition = data.get("condition", ())
    return [name for name in ([condition] if isinstance(condition, str) else condition) if ":" not in name]


def _parted(text: str) -> tuple[str, str]:
    name, sign, word = text.partition("=")
    if not sign:
        raise UserError(f"The condition is {text!r}: write NAME=WORD, such as tone=dark.")
    return name, word


def _one_of(words: Mapping[str, tuple[float, ...]]) -> str:
    return f"one of {', '.join(words)}"


def _generator(model: "GenerativeModel | keras.Model", size: int | None) -> "keras.Model":
    from kerasgen.models import GenerativeModel

    if not isinstance(model, GenerativeModel):
        return model
    return (model.translators_at(size) if size else model.translators())["a2b"]
