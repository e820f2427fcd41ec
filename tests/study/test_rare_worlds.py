"""The known answers, against averages over draws."""

from types import SimpleNamespace

import jax
import numpy as np
import pytest

from elkutils.study import rare_worlds

DRAWS = np.random.default_rng(0).standard_normal((200_000, 2)).astype(np.float32)


def test_mean_harm_is_the_average_over_draws():
    p = np.exp(jax.vmap(lambda theta: rare_worlds.log_harm(theta, -4.0, 1.5))(DRAWS))
    error = p.std() / np.sqrt(len(p))
    assert rare_worlds.mean_harm(-4.0, 1.5) == pytest.approx(p.mean(), abs=4 * error)


def test_the_corner_has_its_mass_and_its_harm():
    mass = 0.25
    here = np.random.default_rng(1).random(len(DRAWS)) < mass
    moved = DRAWS + np.where(here[:, None], rare_worlds.CORNER, 0).astype(np.float32)
    p = np.exp(jax.vmap(lambda theta: rare_worlds.log_harm_in_corner(theta, mass))(moved))
    error = p.std() / np.sqrt(len(p))
    answer = rare_worlds.mean_harm_with_corner(mass)
    assert answer == pytest.approx(p.mean(), abs=4 * error + 1e-3)
    assert p[here].mean() > 0.9 > 0.01 > p[~here].mean()


def test_the_density_with_a_corner_is_a_mixture():
    theta = np.array([0.3, 5.8], np.float32)
    mass = 0.1
    parts = [0.9 * np.exp(-0.5 * theta @ theta)]
    away = theta - np.array(rare_worlds.CORNER)
    parts.append(mass * np.exp(-0.5 * away @ away))
    found = rare_worlds.density_with_corner(theta, np.float32(mass))
    assert float(found) == pytest.approx(np.log(sum(parts)), rel=1e-4)


def test_an_estimate_is_off_by_its_log_ratio_and_three_standard_errors():
    found = SimpleNamespace(estimate=1e-5, relative_error=0.03)
    off = rare_worlds.off_by(found, 1e-6)
    assert (off.estimate, off.upper) == pytest.approx((1, 1 + np.log10(1.09)))
    assert off.lower == pytest.approx(1 - np.log10(1.09))
    doubtful = rare_worlds.off_by(found, 1e-6, doubt=0.04e-6)
    assert doubtful.upper == pytest.approx(1 + np.log10(1.15))
