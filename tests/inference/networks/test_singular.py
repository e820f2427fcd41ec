"""Models with known learning coefficients against other ways to the same numbers."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import logsumexp
from scipy.stats import chi2

from elkutils.inference.networks.singular import Monomial, Quadratic, ReducedRank

SMALL = np.array([0.5, 1e-2, 1e-4, 1e-8])
SHAPES = [(1, 1, 1), (2, 1, 3), (3, 3, 2), (2, 4, 2), (3, 3, 3), (4, 4, 4)]
MODELS = [
    Quadratic((1.0, 0.2, 5.0)),
    Monomial((1, 1)),
    Monomial((3, 1)),
    Monomial((2, 2, 2)),
    ReducedRank(1, 1, 1),
    ReducedRank(3, 2, 2),
    ReducedRank(3, 3, 2),
]


def test_balls_have_the_volume_of_chi_squared():
    found = Quadratic((2.0,) * 5).log_volume(SMALL)
    np.testing.assert_allclose(found, chi2.logcdf(SMALL, 5), rtol=1e-9)


def test_monomials_against_closed_forms():
    for powers in ((1, 2), (3, 1)):
        a, b = (1 / (2 * power) for power in powers)
        exact = (b * SMALL**a - a * SMALL**b) / (b - a)
        np.testing.assert_allclose(np.exp(Monomial(powers).log_volume(SMALL)), exact)
    for power in (1, 2):
        a = 1 / (2 * power)
        exact = SMALL**a * (1 - a * np.log(SMALL))
        np.testing.assert_allclose(np.exp(Monomial((power,) * 2).log_volume(SMALL)), exact)
    assert Monomial((1, 2)).log_volume(1.0) == 0
    assert Monomial((1, 2)).log_volume(7.0) == 0
    np.testing.assert_allclose(Monomial((2,)).log_volume(1e-300), 0.25 * np.log(1e-300))


def test_evidence_of_a_monomial_by_quadrature():
    for t in (1.0, 1e3, 1e6):
        value = quad(lambda x, t=t: -np.log(x) * np.exp(-t * x**2), 0, 1, points=[t**-0.5])[0]
        np.testing.assert_allclose(Monomial((1, 1)).log_evidence(t), np.log(value), rtol=1e-6)
    np.testing.assert_allclose(Monomial((1, 1)).log_evidence(0.0), 0, atol=1e-9)


@pytest.mark.parametrize("model", MODELS, ids=str)
def test_evidence_and_volume_against_draws_of_the_prior(model):
    z = np.random.default_rng(0).standard_normal((100_000, model.size)).astype(np.float32)
    import jax

    losses = np.asarray(jax.vmap(model)(z), np.float64)
    for t in (0.5, 5.0):
        terms = np.exp(-t * losses)
        error = terms.std() / terms.mean() / np.sqrt(len(z))
        assert abs(np.log(terms.mean()) - model.log_evidence(t)) < 4 * error
    for epsilon in (0.3, 0.03):
        share = np.mean(losses <= epsilon)
        error = np.sqrt((1 - share) / share / len(z))
        assert abs(np.log(share) - model.log_volume(epsilon)) < 4 * error


@pytest.mark.parametrize("model", MODELS, ids=str)
def test_evidence_is_the_volumes_laplace_transform(model):
    """Z(t) = ∫ exp(−x)·V(x/t) dx: two computations that share little."""
    t, step = 1e4, 0.5
    u = np.arange(-24, 4, step)  # x = exp(u); the sum is as good as the integral
    heights = u - np.exp(u) + model.log_volume(np.exp(u) / t)
    found = logsumexp(heights) + np.log(step)
    assert found == pytest.approx(float(model.log_evidence(t)), abs=1e-5)


@pytest.mark.parametrize("model", MODELS, ids=str)
def test_slopes_tend_to_the_coefficient_with_the_bias_of_the_multiplicity(model):
    """t·E_t[K] = λ − (m − 1)/(log t + O(1)), and the same of volumes."""
    deep, step = 1e20 if isinstance(model, Monomial) else 1e9, 1.001
    m, coefficient = model.multiplicity, model.learning_coefficient
    by_t = model.log_evidence(deep) - model.log_evidence(deep * step)
    by_epsilon = model.log_volume(1 / deep) - model.log_volume(1 / deep / step)
    for difference in (by_t, by_epsilon):
        slope = difference / np.log(step)
        bias = (m - 1) / np.log(deep)
        assert slope == pytest.approx(coefficient - bias, abs=0.15 * bias + 3e-3)


def test_coefficient_of_reduced_rank_by_counting_powers():
    """The sum over eigenvalues, written down independently of Aoyagi & Watanabe's cases."""
    for M in range(1, 7):
        for N in range(1, 7):
            for H in range(1, 7):
                for r in range(min(M, N, H) + 1):
                    coefficient, ties = r * (M + N - r) / 2, 0
                    for i in range(1, min(H, M) - r + 1):
                        pair = (N - r) / 2, (M + H - 2 * r + 1) / 2 - i
                        coefficient += min(pair)
                        ties += pair[0] == pair[1]
                    model = ReducedRank(M, N, H, r)
                    assert model.learning_coefficient == coefficient
                    assert model.multiplicity == 1 + ties
                    assert model.learning_coefficient <= model.size / 2


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_inputs_and_outputs_can_be_exchanged(shape):
    """K(A, B) = K(Bᵀ, Aᵀ); with few hidden units the two computations differ."""
    M, N, H = shape
    model, t = ReducedRank(M, N, H), np.array([1.0, 1e3])
    np.testing.assert_allclose(model.log_evidence(t), ReducedRank(N, M, H).log_evidence(t))
    assert model.log_evidence(0.0) == pytest.approx(0)


def test_evidence_of_one_hidden_unit_by_quadrature():
    """A row and a column: E (1 + t·χ²_M)^(−N/2)."""
    for M, N in ((1, 1), (2, 3), (5, 2)):
        for t in (1.0, 1e4):
            value = quad(
                lambda u, M=M, N=N, t=t: (
                    chi2.pdf(np.exp(u), M) * np.exp(u) * (1 + t * np.exp(u)) ** (-N / 2)
                ),
                -60,
                6,
                limit=400,
            )[0]
            found = ReducedRank(M, N, 1).log_evidence(t)
            assert found == pytest.approx(np.log(value), abs=1e-6)


def test_a_target_is_reached_by_weights_of_its_rank():
    model = ReducedRank(3, 4, 2, rank=2)
    A, B = np.eye(2, 3), np.eye(4, 2)
    assert float(model(np.r_[A.ravel(), B.ravel()].astype(np.float32))) == 0
    assert float(model(np.zeros(14, np.float32))) == 1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Quadratic(()), "curvatures is"),
        (lambda: Quadratic((1.0, -1.0)), "curvatures is"),
        (lambda: Monomial(()), "powers is empty"),
        (lambda: Monomial((1, 0)), "powers is 0"),
        (lambda: ReducedRank(2, 0, 1), "outputs is 0"),
        (lambda: ReducedRank(2, 2, 1, 2), "rank is 2; it has to be at most 1"),
        (lambda: ReducedRank(2, 2, 2, 1).log_evidence(1.0), "closed form"),
        (lambda: ReducedRank(2, 2, 2, 1).log_volume(0.1), "closed form"),
        (lambda: Monomial((1,)).log_volume(0.0), "epsilon is 0.0"),
        (lambda: Monomial((1,)).log_evidence(-1.0), "t is -1.0"),
    ],
)
def test_bad_arguments_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
