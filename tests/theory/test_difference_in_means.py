"""The theorems about difference in means, each at its predicted rate and constant.

Tolerances: the expansions are in powers of a strength that runs from 1e-4 to 1e-2 here, so
their next term moves a fitted slope by less than 0.01 and the ratio at the smallest strength
by less than 0.001.
"""

import numpy as np
import pytest
from scipy.stats import multivariate_normal
from sklearn.linear_model import Ridge
from sklearn.svm import SVC

from elkutils.inference.logistic import fit_map, logistic_path
from elkutils.reporters import DifferenceInMeans, LinearDiscriminant, LogisticMAP
from elkutils.study.checks import clouds
from elkutils.study.directions import (
    ClassMoments,
    angle,
    gradient_flow,
    posterior_mean,
    sampled_posterior_mean,
    tilt,
)

STRENGTHS = np.geomspace(1e-4, 1e-2, 5)
over_data = pytest.mark.parametrize(("seed", "share"), [(0, 0.1), (1, 0.3), (2, 0.5), (3, 0.8)])


def slope(scales, angles):
    return np.polyfit(np.log(scales), np.log(angles), 1)[0]


@over_data
def test_map_tends_to_difference_in_means_at_its_rate(seed, share):
    X, y = clouds(seed, share)
    moments = ClassMoments.of(X, y)
    scales = moments.scale(STRENGTHS)
    angles = angle(logistic_path(X, y, scales).coefs, moments.delta)
    spread = moments.share * (1 - moments.share)
    predicted = scales**2 * spread * tilt(moments.within, moments.delta)
    assert slope(scales**2, angles) == pytest.approx(1, abs=0.01)
    assert angles[0] / predicted[0] == pytest.approx(1, abs=0.001)


@over_data
def test_map_expansion_to_second_order(seed, share):
    X, y = clouds(seed, share)
    moments = ClassMoments.of(X, y)
    spread = moments.share * (1 - moments.share)
    g = len(y) * spread * moments.delta
    scales = moments.scale(STRENGTHS)
    expected = scales[:, None] ** 2 * g - np.outer(scales**4, spread * moments.total @ g)
    left = np.linalg.norm(logistic_path(X, y, scales).coefs - expected, axis=1)
    assert slope(scales, left) == pytest.approx(6, abs=0.1)


@pytest.mark.parametrize("seed", range(3))
def test_the_angle_vanishes_at_second_order_if_delta_is_an_eigenvector(seed):
    rng = np.random.default_rng(seed)
    half = rng.normal(size=(40, 3))
    mirror = np.concatenate([half, half * [1, -1, -1]])
    X = np.concatenate([mirror, mirror + np.array([1, 0, 0])])
    y = np.repeat([0, 1], 80)
    moments = ClassMoments.of(X, y)
    assert tilt(moments.within, moments.delta) < 1e-10 * np.linalg.norm(moments.within)
    angles = angle(logistic_path(X, y, moments.scale(STRENGTHS)).coefs, moments.delta)
    assert angles.max() < 1e-8


@pytest.mark.parametrize(("seed", "share"), [(0, 0.1), (1, 0.3), (3, 0.8)])
@pytest.mark.parametrize("scaled", [True, False])
def test_without_a_flat_bias_the_limit_is_another(seed, share, scaled):
    X, y = clouds(seed, share)
    scale = ClassMoments.of(X, y).scale(1e-6)
    # A bias under the same prior is one more weight; a very tight one is none at all.
    coef = fit_map(X, y, scale, bias_scale=scale if scaled else 1e-9).coef
    other = (y - 0.5) @ X
    assert angle(coef, other) < 1e-4
    assert angle(coef, ClassMoments.of(X, y).delta) > 0.1


@pytest.mark.parametrize("seed", range(3))
def test_without_a_flat_bias_centred_or_balanced_data_keep_the_limit(seed):
    X, y = clouds(seed, share=0.3)
    moments = ClassMoments.of(X, y)
    scale = moments.scale(1e-6)
    assert angle(fit_map(X - X.mean(axis=0), y, scale, scale).coef, moments.delta) < 1e-4
    X, y = clouds(seed, share=0.5)
    assert angle((y - 0.5) @ X, ClassMoments.of(X, y).delta) < 1e-12


@over_data
def test_posterior_mean_tends_to_difference_in_means_with_its_own_constant(seed, share):
    X, y = clouds(seed, share, n=60, d=2)
    moments = ClassMoments.of(X, y)
    scales = moments.scale(STRENGTHS)
    angles = angle([posterior_mean(X, y, scale) for scale in scales], moments.delta)
    predicted = scales**2 * tilt_of_posterior_mean(X, y, moments)
    assert slope(scales**2, angles) == pytest.approx(1, abs=0.01)
    assert angles[0] / predicted[0] == pytest.approx(1, abs=0.001)


def tilt_of_posterior_mean(X, y, moments):
    """‖P⊥(m₂ S_T ĝ + ½ m₃ Σ‖x̃‖²x̃/‖g‖)‖, m₂ and m₃ moments of p ~ Beta(n₁, n₀)."""
    n, positive = len(y), y.sum()
    negative = n - positive
    second = positive * negative / (n * (n + 1))
    third = second * (negative - positive) / (n + 2)
    centred = X - X.mean(axis=0)
    g = y @ centred
    turned = second * moments.total @ g + third / 2 * (centred**2).sum(axis=1) @ centred
    unit = g / np.linalg.norm(g)
    return np.linalg.norm(turned - (unit @ turned) * unit) / np.linalg.norm(g)


@pytest.mark.parametrize("seed", range(3))
def test_sampled_posterior_mean_agrees_with_quadrature(seed):
    X, y = clouds(seed, 0.3, n=60, d=2)
    scale = ClassMoments.of(X, y).scale(0.1)
    batches = sampled_posterior_mean(X, y, scale, pairs=100, batches=20, seed=seed)
    error = batches.std(axis=0, ddof=1) / np.sqrt(20)
    off = np.abs(batches.mean(axis=0) - posterior_mean(X, y, scale)) / error
    assert off.max() < 4.5  # Student's t with 19 degrees of freedom: 1 in 4000


@pytest.mark.parametrize("strength", [1e-4, 0.1])
def test_quadrature_does_not_depend_on_its_nodes(strength):
    X, y = clouds(0, 0.1, n=60, d=2)
    scale = ClassMoments.of(X, y).scale(strength)
    coarse, fine = (posterior_mean(X, y, scale, nodes=nodes) for nodes in (10, 24))
    np.testing.assert_allclose(coarse, fine, rtol=1e-9)


@over_data
def test_gradient_flow_starts_along_delta_and_turns_half_as_fast(seed, share):
    X, y = clouds(seed, share)
    moments = ClassMoments.of(X, y)
    spread, second = moments.share * (1 - moments.share), X.T @ X
    times = STRENGTHS / (spread * np.linalg.eigvalsh(second)[-1])
    angles = angle(gradient_flow(X, y, times), moments.delta)
    predicted = times / 2 * spread * tilt(second, moments.delta)
    assert slope(times, angles) == pytest.approx(1, abs=0.01)
    assert angles[0] / predicted[0] == pytest.approx(1, abs=0.001)


def test_gradient_flow_ends_where_the_loss_is_least():
    X, y = clouds(0, 0.5, d=3, gap=0.3)
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    flow = gradient_flow(X, y, [10.0], steps=2000)
    np.testing.assert_allclose(flow[0], fit_map(X, y, np.inf).coef, rtol=1e-6)


@over_data
@pytest.mark.parametrize("d", [8, 200])
def test_ridge_has_the_direction_of_the_formula_at_any_balance(seed, share, d):
    X, y = clouds(seed, share, d=d)
    moments = ClassMoments.of(X, y)
    for penalty in np.geomspace(1e-3, 1e4, 8):
        fitted = Ridge(penalty, solver="cholesky").fit(X, 2 * y - 1).coef_
        formula = np.linalg.solve(moments.within + penalty * np.eye(d), moments.delta)
        assert angle(fitted, formula) < 1e-8


@over_data
def test_ridge_goes_from_difference_in_means_to_fisher(seed, share):
    X, y = clouds(seed, share)
    moments = ClassMoments.of(X, y)
    roots = np.linalg.eigvalsh(moments.within)
    fisher = np.linalg.solve(moments.within, moments.delta)

    def ridge(penalties):
        return [Ridge(p, solver="svd").fit(X, 2 * y - 1).coef_ for p in penalties]

    heavy, light = roots[-1] / STRENGTHS, roots[0] * STRENGTHS
    far = angle(ridge(heavy), moments.delta)
    assert slope(heavy, far) == pytest.approx(-1, abs=0.01)
    assert far[0] * heavy[0] == pytest.approx(tilt(moments.within, moments.delta), rel=0.001)
    assert slope(light, angle(ridge(light), fisher)) == pytest.approx(1, abs=0.01)
    assert angle(LinearDiscriminant().fit(X, y).coef_[0], fisher) < 1e-8


@over_data
def test_ridge_goes_to_maximal_data_piling_in_many_dimensions(seed, share):
    X, y = clouds(seed, share, n=40, d=100)
    moments = ClassMoments.of(X, y)
    roots, basis = np.linalg.eigh(moments.within)
    null = basis[:, : 100 - 38]
    piling = null @ (null.T @ moments.delta)
    assert np.ptp((X @ piling)[y == 1]) < 1e-8 * abs(piling @ moments.delta)
    light = roots[100 - 38] * STRENGTHS
    fitted = [Ridge(p, solver="svd").fit(X, 2 * y - 1).coef_ for p in light]
    assert slope(light, angle(fitted, piling)) == pytest.approx(1, abs=0.01)
    pseudo = np.linalg.pinv(moments.within, rcond=1e-10) @ moments.delta
    assert angle(pseudo, piling) > 1


@over_data
def test_spherical_gaussians_put_their_discriminant_along_delta(seed, share):
    X, y = clouds(seed, share)
    moments = ClassMoments.of(X, y)
    variance = np.trace(moments.within) / X.size
    classes = [multivariate_normal(X[y == c].mean(axis=0), variance) for c in (0, 1)]
    corners = np.concatenate([np.zeros((1, 8)), np.eye(8)])
    log_odds = classes[1].logpdf(corners) - classes[0].logpdf(corners)
    assert angle(log_odds[1:] - log_odds[0], moments.delta) < 1e-12
    assert angle(DifferenceInMeans().fit(X, y).coef_[0], moments.delta) < 1e-12


@pytest.mark.parametrize("seed", range(3))
def test_logistic_maximum_likelihood_is_the_loose_end_and_not_delta(seed):
    X, y = clouds(seed, 0.5, gap=0.3)
    exact = LogisticMAP(np.inf).fit(X, y).coef_[0]
    # Mode and maximum likelihood differ by H⁻¹w/τ².
    assert angle(LogisticMAP(1e4).fit(X, y).coef_[0], exact) < 1e-6
    assert angle(exact, ClassMoments.of(X, y).delta) > np.radians(10)


@pytest.mark.parametrize("seed", range(3))
def test_on_separable_data_the_path_goes_to_the_largest_margin(seed):
    X, y = clouds(seed, 0.5, n=30, d=60)
    with pytest.raises(ValueError, match="separates"):
        LogisticMAP(np.inf).fit(X, y)
    path = logistic_path(X, y, np.geomspace(10, 1e4, 5))
    widest = margin(X, y, SVC(C=1e10, kernel="linear", tol=1e-8).fit(X, y).coef_[0])
    shortfall = 1 - np.array([margin(X, y, w) for w in path.coefs]) / widest
    assert np.all(shortfall > 0)
    # One term further the shortfall is c/|w| + O(1/|w|²), and |w| is 10 to 20 over `widest`.
    assert slope(np.linalg.norm(path.coefs, axis=1), shortfall) == pytest.approx(-1, abs=0.1)


def margin(X, y, direction):
    """Half of the gap between the classes along `direction`."""
    along = X @ direction / np.linalg.norm(direction)
    return (along[y == 1].min() - along[y == 0].max()) / 2


def test_angles_far_below_rounding_keep_their_precision():
    tiny = np.array([1e-12, 1e-5, 1.0])
    found = angle(np.column_stack([np.cos(tiny), np.sin(tiny)]), [1, 0])
    np.testing.assert_allclose(found, tiny, rtol=1e-10)
    assert angle([1, 0], [-1, 0]) == pytest.approx(np.pi)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda X, y: posterior_mean(np.ones((4, 9)), y, 1.0), "at most 3"),
        (lambda X, y: gradient_flow(X, y, [2.0, 1.0]), "times"),
        (lambda X, y: sampled_posterior_mean(X, y, 1.0, pairs=0), "pairs"),
        (lambda X, y: ClassMoments.of(X, np.zeros(4)), "both of them"),
        (lambda X, y: ClassMoments.of(X * np.nan, y), "NaN"),
        (lambda X, y: ClassMoments.of(X[:3], y), "shape"),
    ],
)
def test_bad_input_is_named(call, match):
    X, y = np.eye(4)[:, :2], np.array([0, 1, 0, 1])
    with pytest.raises(ValueError, match=match):
        call(X, y)
