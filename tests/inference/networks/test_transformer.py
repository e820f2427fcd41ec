"""The transformer: its forward pass, what absent tokens change, its prior and its posterior."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import kstest, norm

from elkutils.inference._precision import enable_x64
from elkutils.inference.diagnostics import diagnose
from elkutils.inference.networks import hmc, laplace, nuts
from elkutils.inference.networks.network import draw_prior, flat, log_odds
from elkutils.inference.networks.samplers import SAMPLERS
from elkutils.inference.networks.training import Plan, train
from elkutils.inference.networks.transformer import EPSILON, Transformer
from elkutils.reporters import BayesianNetwork, Ensemble, load, make_pipeline
from elkutils.reporters.token_scaler import TokenScaler

INPUTS = 3
SMALL = Transformer(INPUTS, width=4, layers=2, heads=2, mlp_width=6, weight_scale=1.5)


def sequences(n, tokens, seed=0, least=1):
    """Rows (n, tokens, INPUTS) of texts of different lengths, aligned at the end."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, tokens, INPUTS))
    for row, length in enumerate(rng.integers(least, tokens + 1, n)):
        X[row, : tokens - length] = 0
    return X


def flattened(X):
    return X.reshape(len(X), -1)


def parameters_of(network, seed=0):
    return network.init(jax.random.key(seed), network.inputs)


def single(network, X, seed=0):
    return np.asarray(jax.jit(network)(parameters_of(network, seed), np.float32(X)))


def double(parameters):
    return jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), parameters)


def normed(x):
    return x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + EPSILON)


def silu(x):
    return x / (1 + np.exp(-x))


def test_it_is_torchs_transformer_with_the_same_weights():
    """In float64, with torch's MultiheadAttention, key_padding_mask, rms_norm and silu."""
    torch = pytest.importorskip("torch")
    network = Transformer(INPUTS, width=8, layers=3, heads=4, weight_scale=2.0)
    parameters, X = double(parameters_of(network)), sequences(20, 6)
    tensors = jax.tree.map(torch.tensor, parameters)
    tokens = torch.tensor(X)
    absent = ~(tokens != 0).any(-1)

    def attend(layer, stream):
        core = torch.nn.MultiheadAttention(8, 4, bias=False, batch_first=True).double()
        weights = [layer[name].T for name in ("query", "key", "value")]
        core.in_proj_weight.data, core.out_proj.weight.data = (
            torch.cat(weights),
            layer["output"].T.contiguous(),
        )
        return core(stream, stream, stream, key_padding_mask=absent, need_weights=False)[0]

    def norm_of(stream):
        return torch.nn.functional.rms_norm(stream, (8,), eps=EPSILON)

    stream = tokens @ tensors["embedding"]
    for layer in tensors["layers"]:
        stream = stream + attend(layer, norm_of(stream))
        up = norm_of(stream) @ layer["up"] + layer["bias"]
        stream = stream + torch.nn.functional.silu(up) @ layer["down"]
    weights, bias = tensors["readout"]
    expected = (norm_of(stream[:, -1]) @ weights + bias).detach().numpy()
    with enable_x64(True), jax.default_matmul_precision("highest"):
        found = np.asarray(jax.jit(network)(parameters, flattened(X)))
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-10)
    parameters = jax.tree.map(np.float32, parameters)
    # Float32 keeps 7 digits; a few hundred roundings of numbers of size 1 to 10 add up.
    found = log_odds(network, jax.tree.map(lambda x: x[None], parameters), flattened(X))[0]
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_one_token_attends_to_itself():
    """Then attention is the product of the value's and the output's weights."""
    network = Transformer(INPUTS, width=4, layers=1, heads=2, mlp_width=5)
    parameters, X = double(parameters_of(network)), sequences(7, 1)
    stream, (layer,) = X[:, 0] @ parameters["embedding"], parameters["layers"]
    stream = stream + normed(stream) @ layer["value"] @ layer["output"]
    stream = stream + silu(normed(stream) @ layer["up"] + layer["bias"]) @ layer["down"]
    weights, bias = parameters["readout"]
    expected = normed(stream) @ weights + bias
    np.testing.assert_allclose(single(network, flattened(X)), expected, rtol=1e-4, atol=1e-5)


def test_absent_tokens_change_nothing():
    """Neither how many there are nor where they stand: at either end, or in between."""
    X = sequences(6, 4)
    expected = single(SMALL, flattened(X))
    wide = np.zeros((6, 9, INPUTS))
    places = {"end": [5, 6, 7, 8], "start": [0, 1, 2, 3], "between": [1, 2, 6, 8]}
    for place, at in places.items():
        spread = wide.copy()
        spread[:, at] = X
        np.testing.assert_allclose(
            single(SMALL, flattened(spread)), expected, rtol=1e-4, atol=1e-5, err_msg=place
        )
    other = X.copy()
    other[:, :-1] *= -1  # tokens that are present do count, before the last too
    moved = np.abs(single(SMALL, flattened(other)) - expected)
    several = (X != 0).any(-1).sum(1) > 1
    assert several.any()
    assert moved[several].min() > 1e-3
    assert moved[~several].max(initial=0) < 1e-5


def test_tokens_before_the_last_have_no_order():
    X = sequences(6, 5, least=5)
    shuffled = X[:, [2, 0, 3, 1, 4]]
    last = X[:, [4, 1, 2, 3, 0]]
    found = single(SMALL, flattened(X))
    np.testing.assert_allclose(single(SMALL, flattened(shuffled)), found, rtol=1e-4, atol=1e-5)
    assert np.abs(single(SMALL, flattened(last)) - found).max() > 1e-2


def test_masked_tokens_have_gradient_zero_and_others_have_not():
    X = jnp.asarray(sequences(5, 4, seed=1), jnp.float32)
    parameters = parameters_of(SMALL)

    def total(X, parameters):
        return SMALL(parameters, X.reshape(len(X), -1)).sum()

    slope, by_parameter = jax.tree.map(
        np.asarray, jax.jit(jax.grad(total, argnums=(0, 1)))(X, parameters)
    )
    present = np.asarray(X != 0).any(-1)
    assert not present.all()
    np.testing.assert_array_equal(slope[~present], 0)
    assert np.abs(slope[present]).sum(-1).min() > 1e-6
    assert all(
        np.isfinite(leaf).all() and np.any(leaf) for leaf in jax.tree.leaves(by_parameter)
    )


def test_every_leaf_has_its_prior():
    network = Transformer(INPUTS, 4, 2, 2, mlp_width=6, weight_scale=1.5, bias_scale=0.5)
    drawn = draw_prior(network, 4000, 2 * INPUTS, seed=0)
    by_width, deep = 1.5 / np.sqrt(4), 1.5 / np.sqrt(6)
    layer = dict.fromkeys(("query", "key", "value", "output", "up"), by_width)
    layer |= {"bias": 0.5, "down": deep}
    expected = {
        "embedding": 1.5 / np.sqrt(INPUTS),
        "layers": (layer, layer),
        "readout": (by_width, 0.5),
    }
    assert network.scales(2 * INPUTS) == expected

    def check(leaf, scale):
        assert (
            kstest(np.asarray(leaf)[:, ...].reshape(4000, -1)[:, 0] / scale, norm.cdf).pvalue
            > 1e-4
        )
        np.testing.assert_allclose(np.std(leaf, axis=0), scale, rtol=0.056)  # 5 standard errors

    jax.tree.map(check, drawn, expected)
    one = jax.tree.map(lambda leaf: leaf[0], drawn)
    head = flat(network, 2 * INPUTS)
    theta = np.asarray(head.flatten(one))
    np.testing.assert_allclose(
        network.log_prior(one), norm.logpdf(theta, 0, head.scales).sum(), rtol=1e-5
    )
    assert head.size == flat(network, 5 * INPUTS).size == 3 * 4 + 2 * (4 * 16 + 6 * 9) + 5


def test_log_odds_have_the_variance_that_is_promised():
    """weight_scale² + bias_scale², whatever the size of X."""
    X = flattened(1000 * sequences(3, 4))
    found = log_odds(SMALL, draw_prior(SMALL, 4000, X.shape[1], seed=2), X)
    np.testing.assert_allclose(found.std(axis=0), np.sqrt(1.5**2 + 1), rtol=0.08)


def labelled(n=24, tokens=4):
    X = sequences(n, tokens, seed=3)
    y = (X[:, -1, 0] + X[:, :, 1].sum(1) > 0).astype(int)
    return flattened(X), y


def test_without_data_hmc_returns_the_prior():
    d = 2 * INPUTS
    found = hmc.sample(SMALL, np.zeros((0, d)), np.zeros(0), chains=500, draws=2, steps=4)
    x = flattened(sequences(1, 2, least=2))
    prior = log_odds(SMALL, draw_prior(SMALL, 4096, d, seed=7), x)
    assert kstest(found.log_odds(x)[:, -1, 0], prior[:, 0]).pvalue > 0.001


def test_hmc_and_nuts_agree():
    """Mean and sd of log odds, within 4.5 standard errors of both."""
    X, y = labelled(12, 2)
    network = Transformer(INPUTS, width=4, layers=1, heads=2, mlp_width=4)
    new = flattened(sequences(4, 2, seed=5))
    one = hmc.sample(network, X, y, draws=200, warmup=150, chains=8, steps=16)
    two = nuts.sample(network, X, y, draws=100, warmup=100, chains=8)
    one, two = one.log_odds(new), two.log_odds(new)
    a, b = diagnose(one), diagnose(two)
    assert max(a.rhat.max(), b.rhat.max()) < 1.05
    sizes = [np.minimum(quality.ess_bulk, quality.ess_tail) for quality in (a, b)]
    one, two = (part.reshape(-1, 4) for part in (one, two))
    error = 4.5 * np.sqrt(1 / sizes[0] + 1 / sizes[1])
    assert np.all(np.abs(one.mean(0) - two.mean(0)) < error * two.std(0))
    assert np.all(np.abs(np.log(one.std(0) / two.std(0))) < error)


@pytest.mark.parametrize("method", SAMPLERS)
def test_every_method_takes_it(method):
    X, y = labelled()
    options = {"draws": 30, "chains": 2, "warmup": 30, "steps": 4, "threshold": 0.6}
    network = Transformer(INPUTS, width=4, layers=1, heads=2, mlp_width=4)
    fit = BayesianNetwork(network, method, **options).fit(X, y)
    p = fit.predict_proba(X)[:, 1]
    assert p[y == 1].mean() > p[y == 0].mean() + 0.05


def test_its_last_layer_is_the_readout():
    chosen = laplace.last_layer_of(flat(SMALL, 2 * INPUTS))
    size = flat(SMALL, 2 * INPUTS).size
    assert chosen.tolist() == list(range(size - 5, size))


def test_it_is_trained_and_saved_behind_a_scaler(tmp_path):
    X, y = labelled()
    raw = np.where(X == 0, 0, 50 + 20 * X)
    reporter = make_pipeline(
        TokenScaler(INPUTS), BayesianNetwork(SMALL, draws=10, chains=2, warmup=20, steps=4)
    ).fit(raw, y)
    reporter.save(tmp_path / "head")
    again = load(tmp_path / "head")
    np.testing.assert_array_equal(again.sample_proba(raw), reporter.sample_proba(raw))
    ensemble = Ensemble(3, SMALL, init=1.0, steps=200, learning_rate=0.02).fit(X, y)
    assert np.mean(ensemble.predict(X) == y) > 0.8


def test_a_row_without_a_token_is_refused():
    X, y = labelled()
    X[5] = 0
    options = {"draws": 2, "chains": 1, "warmup": 2, "steps": 1, "threshold": 0.6}
    for method in SAMPLERS:
        with pytest.raises(ValueError, match="row 5"):
            BayesianNetwork(SMALL, method, **options).fit(X, y)
    drawn = draw_prior(SMALL, 2, X.shape[1], 0)
    with pytest.raises(ValueError, match="row 5"):
        train(SMALL, drawn, X, y, Plan(steps=1))
    with pytest.raises(ValueError, match="row 5"):
        log_odds(SMALL, drawn, X)
    fit = BayesianNetwork(SMALL, **options).fit(np.delete(X, 5, 0), np.delete(y, 5))
    with pytest.raises(ValueError, match="row 5"):
        fit.predict_proba(X)


@pytest.mark.parametrize("d", [INPUTS + 1, INPUTS - 1])
def test_a_row_has_to_be_whole_tokens(d):
    with pytest.raises(
        ValueError, match=f"X has {d} columns; it needs a multiple of inputs, 3"
    ):
        BayesianNetwork(SMALL).fit(np.ones((4, d)), [0, 1, 0, 1])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"inputs": 0}, "inputs"),
        ({"width": 6, "heads": 4}, "width is 6 and heads 4"),
        ({"layers": 0}, "layers"),
        ({"mlp_width": 2.5}, "mlp_width"),
        ({"weight_scale": -1.0}, "weight_scale"),
        ({"bias_scale": float("inf")}, "bias_scale"),
    ],
)
def test_impossible_transformers_are_refused(arguments, said):
    with pytest.raises(ValueError, match=said):
        Transformer(**{"inputs": 3} | arguments)


def test_equal_transformers_are_one():
    assert hash(Transformer(3)) == hash(Transformer(np.int64(3)))
    assert Transformer(3) == Transformer(3, mlp_width=None) != Transformer(3, layers=1)
    assert Transformer(3).units(3) < Transformer(3).units(6)
