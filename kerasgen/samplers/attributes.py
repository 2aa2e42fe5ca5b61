"""Labels and attributes of training pictures, and evidence about them such as "smiling=1 & male=0"."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Self

import numpy as np

from kerasgen.errors import UserError
from kerasgen.typing import Tensor

LABEL = "label"


class Attributes:
    """A table of integers with named columns: the label, if there is one, and the attributes.

    Attributes:
        names: of the columns.
        values: of each column, the integers that occur in it, in order.
        codes: int64 [n, columns], the place of each picture's integer among its column's `values`.
    """

    def __init__(self, names: list[str], values: list[np.ndarray], codes: np.ndarray):
        self.names, self.values, self.codes = names, values, codes

    @classmethod
    def of(cls, count: int, labels: Tensor, attributes: Mapping[str, Tensor] | None) -> Self:
        """Return the table of `count` pictures.

        Raises:
            UserError: a column is not `count` integers.
        """
        given = {} if labels is None else {LABEL: labels}
        given |= attributes or {}
        names, values, codes = [], [], []
        for name, column in given.items():
            column = np.asarray(column)
            is_numbers = column.dtype.kind in "biuf" and np.isfinite(column).all()
            if column.shape != (count,) or not is_numbers or not np.array_equal(column, column.astype(np.int64)):
                raise UserError(
                    f"{name!r} has the shape {column.shape} and the type {column.dtype}, but an integer for each of "
                    f"the {count} latents is needed."
                )
            found, code = np.unique(column.astype(np.int64), return_inverse=True)
            if len(found) == 1:
                warnings.warn(
                    f"All {count} pictures have {name} = {found[0]}, so the sampler can't tell others apart: give "
                    "pictures of each kind, or leave it out.",
                    stacklevel=3,
                )
            names.append(name)
            values.append(found)
            codes.append(code)
        return cls(names, values, np.stack(codes, axis=1) if codes else np.zeros((count, 0), np.int64))

    def evidence(self, where: Mapping[str, int] | None) -> dict[int, int]:
        """Return what `where` says, as {column: code}.

        Raises:
            UserError: a name or a value is unknown.
        """
        found = {}
        for name, value in (where or {}).items():
            if name not in self.names:
                known = f"it knows {', '.join(self.names)}" if self.names else "it was fitted without any"
                raise UserError(f"The sampler knows no attribute {name!r}: {known}.")
            column = self.names.index(name)
            if not isinstance(value, int | np.integer):
                raise UserError(f"{name} is {value!r}: give a whole number, such as {int(self.values[column][0])}.")
            (code,) = np.nonzero(self.values[column] == int(value))
            if not len(code):
                raise UserError(
                    f"No picture that the sampler was fitted to has {name} = {value}: choose one of "
                    f"{', '.join(map(str, self.values[column]))}."
                )
            found[column] = int(code[0])
        return found

    def matching(self, evidence: Mapping[int, int]) -> np.ndarray:
        """Which pictures agree with all of the evidence: bool [n]."""
        mask = np.ones(len(self.codes), bool)
        for column, code in evidence.items():
            mask &= self.codes[:, column] == code
        return mask

    def tables(self, weights: np.ndarray, pseudo_count: float = 1.0) -> list[np.ndarray]:
        """P(column = value | part) for parts of the pictures, smoothed towards the whole's frequencies.

        Args:
            weights: [n, parts], how much of each picture belongs to each part.
            pseudo_count: pictures' worth of smoothing, spread as in the whole.

        Returns:
            For each column float64 [parts, values].
        """
        found = []
        total = weights.sum(axis=0)[:, None]
        for column, values in enumerate(self.values):
            one_hot = np.eye(len(values))[self.codes[:, column]]
            found.append((weights.T @ one_hot + pseudo_count * one_hot.mean(axis=0)) / (total + pseudo_count))
        return found

    def text(self, where: Mapping[str, int] | None) -> str:
        return " & ".join(f"{name} = {value}" for name, value in (where or {}).items())

    def state(self) -> dict[str, np.ndarray]:
        """Arrays for a file, without pickle."""
        return {
            "attribute_names": np.asarray(self.names, dtype=np.str_),
            "attribute_sizes": np.asarray([len(v) for v in self.values], np.int64),
            "attribute_values": np.concatenate([*self.values, np.zeros(0, np.int64)]),
            "attribute_codes": self.codes,
        }

    @classmethod
    def restored(cls, state: Mapping[str, np.ndarray]) -> Self:
        values = np.split(state["attribute_values"], np.cumsum(state["attribute_sizes"]))[:-1]
        return cls([str(name) for name in state["attribute_names"]], values, state["attribute_codes"])


def likelihood_of(evidence: Mapping[int, int], tables: list[np.ndarray], parts: int) -> np.ndarray:
    """P(evidence | part) from the tables of `Attributes.tables`: float64 [parts]."""
    likelihood = np.ones(parts)
    for column, code in evidence.items():
        likelihood = likelihood * tables[column][:, code]
    return likelihood


def parse_where(text: str, classes: Sequence[str] = ()) -> dict[str, int]:
    """Return the evidence in a text such as "smiling=1 & male=0" or "label=cats".

    Args:
        text: names with their values, joined by "&".
        classes: what the values of `label` are called; the number of a class can be given too.

    Raises:
        UserError: it is written otherwise, or no class has the name.
    """
    found = {}
    for part in text.split("&"):
        name, equals, value = (piece.strip() for piece in part.partition("="))
        if name == "label" and value in classes:
            value = str(classes.index(value))
        if not (name and equals and value.removeprefix("-").isdecimal()):
            known = f"; the classes are {', '.join(classes)}" if name == "label" and classes else ""
            raise UserError(f'{text!r} can\'t be read at {part.strip()!r}: write it as "smiling=1 & male=0"{known}.')
        if name in found:
            raise UserError(f"{text!r} names {name!r} twice: say it once.")
        found[name] = int(value)
    return found
