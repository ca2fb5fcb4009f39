"""The side of the benchmarks that runs JAX, in a Python of its own: the environment variable
JAX_PYTHON names one that has JAX.

The steps are what a user of JAX writes: one `jax.jit` of loss, gradient and update, whose old
weights and state are donated to the new ones. It reads and answers as side.py does.
"""

from __future__ import annotations

import math
import os
import sys
from functools import partial

from cases import Case
from side import serve

CASES: dict[str, Case] = {}


def case(prepare):
    """Register a function that makes a step under its name."""
    CASES[prepare.__name__] = Case(prepare.__name__, prepare.__doc__ or "", prepare)
    return prepare


def training_step(jax, loss_of, optimizer, parameters, batch, steps=1):
    """What is timed: steps of the whole training. Only the last one is waited for: of several, JAX
    prepares the next while one runs, which saves a small step half of its time.

    Args:
        loss_of: the loss, a function of the parameters and the batch.
        optimizer: its state at the beginning, a function of the parameters, and its update, a
            function of gradients, state and parameters that returns new parameters and state.
        steps: how many a call runs.
    """
    start, update = optimizer

    @partial(jax.jit, donate_argnums=(0, 1))
    def step(parameters, state, *batch):
        loss, gradients = jax.value_and_grad(loss_of)(parameters, *batch)
        return *update(gradients, state, parameters), loss

    state = start(parameters)

    def run():
        nonlocal parameters, state
        for _ in range(steps):
            parameters, state, loss = step(parameters, state, *batch)
        loss.block_until_ready()

    return run, steps


# ------------------------------------------------------------------------------ optimizers
def sgd(jax, rate):
    def update(gradients, state, parameters):
        return jax.tree.map(lambda p, g: p - rate * g, parameters, gradients), state

    return lambda parameters: (), update


def adam(jax, rate, weight_decay=0.0, beta1=0.9, beta2=0.999, epsilon=1e-8):
    """Adam (Kingma and Ba 2015), with weight decay apart from the gradient: AdamW."""
    jnp = jax.numpy

    def start(parameters):
        zeros = jax.tree.map(jnp.zeros_like, parameters)
        return jnp.float32(0), zeros, jax.tree.map(jnp.zeros_like, parameters)

    def update(gradients, state, parameters):
        count, mean, square = state
        count = count + 1
        mean = jax.tree.map(lambda m, g: beta1 * m + (1 - beta1) * g, mean, gradients)
        square = jax.tree.map(lambda v, g: beta2 * v + (1 - beta2) * g * g, square, gradients)
        size = rate / (1 - beta1**count)
        correction = jnp.sqrt(1 - beta2**count)

        def moved(p, m, v):
            decayed = p * (1 - rate * weight_decay)
            return decayed - size * m / (jnp.sqrt(v) / correction + epsilon)

        return jax.tree.map(moved, parameters, mean, square), (count, mean, square)

    return start, update


# ------------------------------------------------------------------------------ the rings
def linear(jax, key, inputs, outputs, has_bias=True):
    """Weights of a linear layer, drawn as PyTorch draws them."""
    bound = 1 / math.sqrt(inputs)
    keys = jax.random.split(key)
    layer = {"weight": jax.random.uniform(keys[0], (inputs, outputs), minval=-bound, maxval=bound)}
    if has_bias:
        layer["bias"] = jax.random.uniform(keys[1], (outputs,), minval=-bound, maxval=bound)
    return layer


def apply(layer, x):
    return x @ layer["weight"] + layer["bias"]


def ring_step(jax, optimizer, steps=1, rows=100):
    """The network of danlu's case, on as many points of the two rings."""
    jnp = jax.numpy
    keys = jax.random.split(jax.random.key(0), 5)
    labels = (jnp.arange(rows) >= rows // 2).astype(jnp.float32)[:, None]
    radius = jnp.where(labels == 0, 5.0, 8.0) + jax.random.normal(keys[0], (rows, 1))
    angle = 2 * math.pi * jax.random.uniform(keys[1], (rows, 1))
    features = jnp.concatenate([radius * jnp.cos(angle), radius * jnp.sin(angle)], axis=1)
    sizes = (2, 4, 8, 1)
    network = [linear(jax, *each) for each in zip(keys[2:], sizes[:-1], sizes[1:])]

    def loss_of(network, features, labels):
        x = features
        for layer in network[:-1]:
            x = jax.nn.relu(apply(layer, x))
        x = apply(network[-1], x)
        # binary cross entropy of logits, in the form that does not overflow
        return jnp.mean(jnp.maximum(x, 0) - x * labels + jnp.log1p(jnp.exp(-jnp.abs(x))))

    return training_step(jax, loss_of, optimizer, network, (features, labels), steps)


@case
def ring_step_sgd(jax):
    return ring_step(jax, sgd(jax, 0.01))


@case
def ring_step_adam(jax):
    return ring_step(jax, adam(jax, 0.01))


@case
def ring_steps_sgd(jax):
    return ring_step(jax, sgd(jax, 0.01), steps=100)


@case
def ring_steps_adam(jax):
    return ring_step(jax, adam(jax, 0.01), steps=100)


# ------------------------------------------------------------------------------ the small GPT
def layer_norm(jax, norm, x):
    mean = x.mean(-1, keepdims=True)
    variance = jax.numpy.square(x - mean).mean(-1, keepdims=True)
    return (x - mean) * jax.lax.rsqrt(variance + 1e-5) * norm["weight"] + norm["bias"]


def gpt_parameters(jax, layers, width, length, vocabulary):
    jnp = jax.numpy
    keys = iter(jax.random.split(jax.random.key(0), 3 + 4 * layers))

    def norm():
        return {"weight": jnp.ones(width), "bias": jnp.zeros(width)}

    def block():
        return {
            "norm1": norm(),
            "projections": linear(jax, next(keys), width, 3 * width),
            "output": linear(jax, next(keys), width, width),
            "norm2": norm(),
            "wide": linear(jax, next(keys), width, 4 * width),
            "narrow": linear(jax, next(keys), 4 * width, width),
        }

    return {
        "tokens": jax.random.normal(next(keys), (vocabulary, width)),
        "positions": jax.random.normal(next(keys), (length, width)),
        "blocks": [block() for _ in range(layers)],
        "norm": norm(),
        "head": linear(jax, next(keys), width, vocabulary, has_bias=False),
    }


@case
def gpt_step(jax):
    layers, width, length, heads, vocabulary, batch = 4, 128, 128, 4, 65, 16
    jnp = jax.numpy

    def attention(block, x):
        q, k, v = (
            part.reshape(-1, length, heads, width // heads)
            for part in jnp.split(apply(block["projections"], x), 3, axis=-1)
        )
        y = jax.nn.dot_product_attention(q, k, v, is_causal=True)
        return apply(block["output"], y.reshape(x.shape))

    def loss_of(parameters, ids, following):
        x = parameters["tokens"][ids] + parameters["positions"]
        for block in parameters["blocks"]:
            x = x + attention(block, layer_norm(jax, block["norm1"], x))
            hidden = apply(block["wide"], layer_norm(jax, block["norm2"], x))
            x = x + apply(block["narrow"], jax.nn.gelu(hidden, approximate=False))
        logits = layer_norm(jax, parameters["norm"], x) @ parameters["head"]["weight"]
        chances = jax.nn.log_softmax(logits)
        return -jnp.take_along_axis(chances, following[..., None], axis=-1).mean()

    text = jax.random.randint(jax.random.key(1), (batch, length + 1), 0, vocabulary)
    parameters = gpt_parameters(jax, layers, width, length, vocabulary)
    optimizer = adam(jax, 0.001, weight_decay=0.01)
    return training_step(jax, loss_of, optimizer, parameters, (text[:, :-1], text[:, 1:]))


def main():
    threads, sample_seconds = int(sys.argv[1]), float(sys.argv[2])
    if hasattr(os, "sched_setaffinity"):  # XLA starts a thread for every core that it may use
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    answers, sys.stdout = sys.stdout, sys.stderr
    import jax

    serve(CASES, jax, answers, sample_seconds)


if __name__ == "__main__":
    main()
