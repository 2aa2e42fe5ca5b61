"""Names for what Keras computes with, and for what it is configured by."""

from collections.abc import Mapping
from typing import Any, TypeAlias

# A tensor of Keras' backend, a symbolic one, a variable or a NumPy array: they share arithmetic, but no class.
Tensor: TypeAlias = Any

# What `fit` gives to a step: tensors by name, or images alone, or with labels and weights behind them.
Batch: TypeAlias = Mapping[str, Tensor] | tuple[Tensor, ...] | Tensor

# A constructor's argument in a configuration: whatever JSON holds, and Keras' objects where one is still built.
Config: TypeAlias = Any
