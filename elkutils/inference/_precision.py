"""The precision in which JAX computes."""

from collections.abc import Iterator
from contextlib import contextmanager

import jax

try:
    from jax import enable_x64
except ImportError:  # before JAX 0.8
    from jax.experimental import enable_x64


@contextmanager
def single() -> Iterator[None]:
    """Have JAX compute in float32, whatever its global setting: samplers of networks do."""
    with enable_x64(False):
        yield


@contextmanager
def exactly() -> Iterator[None]:
    """Have JAX keep float64 as it is, and take no short cuts in products of float32."""
    with enable_x64(True), jax.default_matmul_precision("highest"):
        yield
