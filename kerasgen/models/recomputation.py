"""Gradient checkpointing: computing activations again instead of keeping them (Chen et al. 2016, 1604.06174)."""

from collections.abc import Callable

import tensorflow as tf

from kerasgen.typing import Tensor


def recomputed(*functions: Callable[[Tensor], Tensor]) -> list[Callable[[Tensor], Tensor]]:
    """Functions with the same values and gradients, which compute again, one at a time, when a gradient is due.

    tf.recompute_grad does so too, but nothing keeps a graph from running several such computations at once, whose
    activations then add up: here each waits for the gradients of the one before.

    Args:
        functions: each from a tensor to a tensor, by variables that it only reads. All belong to one training step.
    """
    finished: list = []
    return [_recomputed(function, finished) for function in functions]


def _recomputed(function: Callable[[Tensor], Tensor], finished: list) -> Callable[[Tensor], Tensor]:
    """`finished` holds the weights' gradients of the latest computation; those of the inputs may not be needed."""

    @tf.custom_gradient
    def run(x: Tensor) -> Tensor:
        def gradient(upstream: Tensor, variables: Tensor = ()) -> tuple[Tensor, list]:
            # The identity also keeps TensorFlow from seeing that it has computed the same before.
            with tf.control_dependencies([upstream, *finished]):
                again = tf.identity(x)
            with tf.GradientTape() as tape:
                tape.watch(again)
                y = function(again)
            of_input, *of_variables = tape.gradient(
                y, [again, *variables], output_gradients=upstream, unconnected_gradients="zero"
            )
            finished[:] = of_variables
            return of_input, of_variables

        return function(x), gradient

    return run
