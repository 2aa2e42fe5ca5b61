"""The one name for what Keras computes with."""

from typing import Any, TypeAlias

# A tensor of Keras' backend, a symbolic one, a variable or a NumPy array: they share arithmetic, but no class.
Tensor: TypeAlias = Any
