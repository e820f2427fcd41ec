"""The kernel of a network against its Jacobian, whole."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from elkutils.inference._precision import exactly
from elkutils.inference.networks.jacobian import Blocks, kernel, products
from elkutils.inference.networks.mlp import MLP
from elkutils.inference.networks.network import flat

NETWORK = MLP((4, 3), weight_scale=2.0, bias_scale=0.5)
HEAD = flat(NETWORK, 3)
RNG = np.random.default_rng(0)
Z, LEFT, RIGHT = (RNG.standard_normal(shape) for shape in (HEAD.size, (7, 3), (5, 3)))


def jacobian(X):
    with exactly():
        by_theta = jax.jacobian(lambda at: NETWORK(HEAD.parameters(at), jnp.asarray(X)))
        return np.asarray(by_theta(jnp.asarray(Z * HEAD.scales)), float) * HEAD.scales


@pytest.mark.parametrize("memory", [1, 2**15, 2**29])
@pytest.mark.parametrize("chosen", [None, np.array([0, 5, 11])])
def test_blocks_give_what_the_whole_jacobian_gives(memory, chosen):
    columns = slice(None) if chosen is None else chosen
    left, right = (jacobian(X)[:, columns] for X in (LEFT, RIGHT))
    options = {"chosen": chosen, "memory": memory}
    close = {"rtol": 1e-6, "atol": 1e-9}
    np.testing.assert_allclose(kernel(HEAD, Z, LEFT, RIGHT, **options), left @ right.T, **close)
    np.testing.assert_allclose(kernel(HEAD, Z, LEFT, **options), left @ left.T, **close)
    squares = np.sum(left**2, axis=1)
    for other in (LEFT, RIGHT, RIGHT[:0]):
        found = products(HEAD, Z, LEFT, other, **options)[1]
        np.testing.assert_allclose(found, squares, **close)


def test_memory_bounds_the_rows_of_a_block():
    assert Blocks(HEAD, Z, None, 1).rows == 1
    few, many = (Blocks(HEAD, Z, None, memory).rows for memory in (2**15, 2**20))
    assert 1 < few < many
    assert [part.stop for part in Blocks(HEAD, Z, None, 1).of(2)] == [1, 2]


def test_no_rows_have_an_empty_kernel():
    assert kernel(HEAD, Z, LEFT[:0], RIGHT).shape == (0, 5)
    assert kernel(HEAD, Z, LEFT, RIGHT[:0]).shape == (7, 0)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"z": Z[:-1]}, r"z has shape \(34,\); it needs \(35,\)"),
        ({"left": LEFT[:, :2]}, r"needs \(n, 3\)"),
        ({"memory": 0}, "memory is 0"),
    ],
)
def test_bad_input(changed, told):
    with pytest.raises(ValueError, match=told):
        kernel(**{"head": HEAD, "z": Z, "left": LEFT} | changed)
