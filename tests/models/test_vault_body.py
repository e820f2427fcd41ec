"""The vault's predictor in JAX against the model in torch."""

import jax.numpy as jnp
import numpy as np
import pytest
import torch

from elkutils.inference._precision import exactly
from elkutils.models import activations
from elkutils.models.vault import arrays_of, load_predictor
from elkutils.models.vault_body import body_of
from elkutils.study import VAULT_PLACES
from elkutils.tasks.vault import hard

STEP = 11


@pytest.fixture(scope="module")
def predictor():
    return load_predictor(3)


@pytest.fixture(scope="module")
def cases(predictor):
    return hard(predictor.world, STEP, 40, seed=0)


@pytest.mark.parametrize("place", VAULT_PLACES)
def test_the_residual_stream_is_that_of_the_model(predictor, cases, place):
    hook = VAULT_PLACES[place]
    body, weights = body_of(predictor, hook, cases.tokens.shape[1])
    found = np.asarray(body(weights, jnp.asarray(cases.tokens, jnp.float32)))
    read = activations(
        predictor.model, cases.texts, [hook], "last", cache=False, progress=False
    )
    np.testing.assert_allclose(found, read[hook], atol=2e-5)


def test_logits_are_those_of_torch(predictor, cases):
    """The final norm and the unembedding on the body's features, to rounding of float32."""
    body, weights = body_of(predictor, VAULT_PLACES["MLP 2"], cases.tokens.shape[1])
    with exactly():
        double = {name: jnp.asarray(w, jnp.float64) for name, w in weights.items()}
        stream = np.asarray(body(double, jnp.asarray(cases.tokens, jnp.float64)))
    rest = arrays_of(predictor.model)
    away = stream - stream.mean(axis=1, keepdims=True)
    read = away / np.sqrt((away**2).mean(axis=1, keepdims=True) + 1e-5)
    logits = (read * rest["ln_out.weight"] + rest["ln_out.bias"]) @ rest["head.weight"].T
    with torch.inference_mode():
        theirs = predictor.model.original_model(torch.as_tensor(cases.tokens))[:, -1].numpy()
    np.testing.assert_allclose(logits, theirs, atol=5e-5)


def test_single_precision_stays_single(predictor, cases):
    """A NumPy scalar among JAX arrays makes the rest float64, at twice the time."""
    body, weights = body_of(predictor, VAULT_PLACES["MLP 2"], cases.tokens.shape[1])
    with exactly():
        found = body(weights, jnp.asarray(cases.tokens, jnp.float32))
    assert found.dtype == jnp.float32


def test_it_reads_every_weight_that_it_holds(predictor):
    """Changing any one tensor changes the features of some row."""
    tokens = jnp.asarray(hard(predictor.world, STEP, 20, seed=1).tokens)
    rng = np.random.default_rng(0)
    for place, hook in VAULT_PLACES.items():
        body, weights = body_of(predictor, hook, tokens.shape[1])
        before = np.asarray(body(weights, tokens))
        for name, value in weights.items():
            if name.endswith("k.bias"):
                continue  # it adds the same to all scores of a query: softmax forgets it
            other = value + 0.1 * rng.standard_normal(value.shape).astype(np.float32)
            gap = np.abs(np.asarray(body(weights | {name: other}, tokens)) - before).max()
            assert gap > 1e-4, (place, name)


@pytest.mark.parametrize(
    ("hook", "length", "told"),
    [
        ("blocks.2.hook_resid_post", 22, "i < 2"),
        ("blocks.0.hook_mlp_out", 22, "hook is 'blocks.0.hook_mlp_out'"),
        ("blocks.0.hook_resid_mid", 40, "length is 40; the predictor reads 1 to 33"),
    ],
)
def test_bad_places(predictor, hook, length, told):
    with pytest.raises(ValueError, match=told):
        body_of(predictor, hook, length)
