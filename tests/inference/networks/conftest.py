import numpy as np
import pytest
from scipy.special import log_expit
from scipy.stats import norm


@pytest.fixture
def quadrature():
    """Mean and sd of weight and bias given one feature, under N(0, 1.5²) and N(0, 1)."""

    def moments(X, y):
        w, b = np.meshgrid(np.linspace(-9, 9, 401), np.linspace(-6, 6, 401), indexing="ij")
        log_p = norm.logpdf(w, 0, 1.5) + norm.logpdf(b, 0, 1.0)
        for x, label in zip(X[:, 0], y, strict=True):
            log_p += log_expit((2 * label - 1) * (w * x + b))
        p = np.exp(log_p - log_p.max())
        p /= p.sum()
        mean = np.array([(p * w).sum(), (p * b).sum()])
        return mean, np.sqrt([(p * (w - mean[0]) ** 2).sum(), (p * (b - mean[1]) ** 2).sum()])

    return moments
