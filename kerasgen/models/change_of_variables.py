"""The density of what a flow makes of noise, by the instantaneous change of variables."""

import math
from collections.abc import Callable

import tensorflow as tf

from kerasgen.networks.ode import integrate
from kerasgen.typing import Tensor


def log_density(velocity: Callable[[Tensor, Tensor], Tensor], x: Tensor, steps: int, directions: Tensor) -> Tensor:
    """Return the log-density of places x under a flow that begins as N(0, I), in nats.

    Chen et al., "Neural Ordinary Differential Equations" (2018, 1806.07366).

    Args:
        velocity: from places of the shape of x and a time, a scalar tensor, to dx/dt.
        x: [batch, …], at time 1.
        steps: of Heun's method, back to time 0.
        directions: [k, n] for places of n numbers; the divergence is the sum of what it is along each.

    Returns:
        float32 [batch].
    """
    count, shape = tf.shape(x)[0], x.shape[1:]

    @tf.function
    def moved(state: Tensor, time: Tensor) -> Tensor:
        # The state is a place's numbers, and behind them the integral of the divergence.
        flat = state[:, :-1]
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(flat)
            found = tf.reshape(velocity(tf.reshape(flat, (-1, *shape)), time), (count, -1))
        divergence = tf.zeros([count])
        for direction in tf.unstack(directions):
            along = tape.gradient(found, flat, output_gradients=tf.broadcast_to(direction, tf.shape(found)))
            divergence += tf.linalg.matvec(along, direction)
        return tf.concat([found, divergence[:, None]], axis=1)

    # As a tensor: a new number would be a new graph.
    state = integrate(
        lambda state, time: moved(state, tf.constant(time, tf.float32)),
        tf.pad(tf.reshape(x, (count, -1)), [[0, 0], [0, 1]]),
        steps,
        "heun",
        start=1.0,
        end=0.0,
    )
    noise = state[:, :-1]
    prior = -0.5 * tf.reduce_sum(noise * noise + math.log(2 * math.pi), axis=1)
    return prior + state[:, -1]
