"""SGHMC and SGLD on exact moments over steps, temperatures and batches; the prior; HMC."""

import warnings
from itertools import permutations

import numpy as np
import pytest
from scipy.linalg import solve_discrete_lyapunov
from scipy.stats import kstest, norm

from elkutils.checkpoint import Checkpoint
from elkutils.inference._precision import enable_x64
from elkutils.inference.linear import posterior
from elkutils.inference.networks import hmc, sgmcmc
from elkutils.inference.networks.mlp import MLP
from elkutils.inference.networks.training import Squared

N, D = 6, 2
LINEAR = MLP(weight_scale=np.sqrt(D))  # z are the weights and the bias themselves
RUN = {"draws": 20, "warmup": 20, "chains": 400, "loss": Squared()}


@pytest.fixture(scope="module")
def data():
    """Six rows of a linear model with noise 1, and its design with a column of ones."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((N, D)).astype(np.float32)
    y = X @ [1.0, -1.0] + 0.3 + rng.standard_normal(N)
    return X, y, np.column_stack([X, np.ones(N)]).astype(float)


def coordinates(found):
    """(chains, draws, 3)"""
    ((weights, bias),) = found.parameters
    return np.concatenate([weights[..., 0], bias], axis=-1)


def check_moments(found, mean, second):
    """Within 4.5 standard errors, from chains that are independent of each other."""
    z = coordinates(found)
    outer = z[..., :, None] * z[..., None, :]
    for values, expected in ((z, mean), (outer, second)):
        per_chain = values.mean(axis=1)
        error = per_chain.std(axis=0, ddof=1) / np.sqrt(len(z))
        assert np.all(np.abs(per_chain.mean(axis=0) - expected) < 4.5 * error)


def second_moment(mean, covariance):
    return covariance + np.outer(mean, mean)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("share", [0.1, 0.4, 0.8])
def test_sghmc_has_no_bias_on_a_normal_posterior_at_any_stable_step(data, share, temperature):
    X, y, design = data
    exact = posterior(design, y, 1.0, 1.0)
    limit = 2 / np.sqrt(np.linalg.eigvalsh(np.linalg.inv(exact.covariance))[-1])
    options = RUN | {"temperature": temperature, "step_size": share * limit}
    found = sgmcmc.sample(LINEAR, X, y, seed=1, **options)
    np.testing.assert_allclose(found.details["largest_stable_step"], limit, rtol=1e-3)
    check_moments(found, exact.mean, second_moment(exact.mean, temperature * exact.covariance))
    heat = found.stats["kinetic_temperature"].mean(axis=1)
    assert abs(heat.mean() - temperature) < 4.5 * heat.std() / 20


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("share", [0.05, 0.2, 0.6])
def test_the_bias_of_sgld_is_the_one_stated(data, share, temperature):
    X, y, design = data
    exact = posterior(design, y, 1.0, 1.0)
    values, vectors = np.linalg.eigh(np.linalg.inv(exact.covariance))
    h = share * 2 / values[-1]
    variances = temperature / (values * (1 - h * values / 2))
    assert variances[-1] > temperature / values[-1] * (1 + 0.9 * share)
    options = RUN | {"temperature": temperature, "step_size": h, "method": "sgld"}
    found = sgmcmc.sample(LINEAR, X, y, seed=2, **options)
    expected = vectors * variances @ vectors.T
    check_moments(found, exact.mean, second_moment(exact.mean, expected))


@pytest.mark.parametrize("stretch", [np.ones(3), np.array([1.0, 0.4, 0.7])])
@pytest.mark.parametrize("share", [0.2, 0.6, 0.95])
def test_the_stationary_covariance_of_a_step_of_sghmc_is_exact(share, stretch):
    """By Lyapunov's equation, without chance, with the same step or one per parameter."""
    rng = np.random.default_rng(6)
    root = rng.standard_normal((3, 3))
    precision = np.eye(3) + root @ root.T
    step = share * 2 / np.sqrt(np.linalg.eigvalsh(stretch[:, None] * precision * stretch)[-1])
    eye, none = np.eye(3), np.zeros((3, 3))
    with enable_x64(True):

        def moved(z, momentum, noise):
            slope = z @ (precision - np.eye(3))
            h = step * stretch
            z, momentum, _ = sgmcmc._sghmc(z, momentum, slope, h, 2.0, 0.7, noise)
            return np.concatenate([z, momentum], axis=1).T

        flow = np.hstack([moved(eye, none, none), moved(none, eye, none)])
        noise = moved(none, none, eye)
    assert np.abs(np.linalg.eigvals(flow)).max() < 1
    found = solve_discrete_lyapunov(flow, noise @ noise.T)[:3, :3]
    np.testing.assert_allclose(found, 2 * np.linalg.inv(precision), rtol=1e-6, atol=1e-8)


def step_of(method, rows, design, y, h, temperature):
    """A step with these rows as an affine map of (z, momentum, 1), and its noise, (7, 7)."""
    precision = N / len(rows) * design[rows].T @ design[rows]
    target = N / len(rows) * design[rows].T @ y[rows]
    eye, none, one = np.eye(3), np.zeros((3, 3)), np.zeros((1, 3))
    noise = np.zeros((7, 7))
    if method == "sgld":
        noise[:3, :3] = 2 * h * temperature * eye
        moved = [[eye - h * (eye + precision), none, h * target[:, None]]]
        return np.block([*moved, [none, eye, one.T], [one, one, np.ones((1, 1))]]), noise
    kick = 2 * np.tan(h / 2)
    c, s = np.cos(h / 2) * eye, np.sin(h / 2) * eye
    last = [one, one, np.ones((1, 1))]
    kicked = np.block(
        [[eye, none, one.T], [-kick * precision, eye, kick * target[:, None]], last]
    )
    turned = np.block([[c, s, one.T], [-s, c, one.T], last])
    kept = np.diag([1.0] * 3 + [np.exp(-h)] * 3 + [1.0])
    noise[3:6, 3:6] = temperature * (1 - np.exp(-2 * h)) * eye
    return turned @ kept @ turned @ kicked, turned @ noise @ turned.T


def predicted(method, batch, design, y, h, temperature):
    """First and second moments of the kept draws, averaged over every way to batch the rows."""
    steps = N // batch  # a round sees each row once
    orders = {
        tuple(tuple(sorted(order[i : i + batch])) for i in range(0, N, batch))
        for order in permutations(range(N))
    }
    moved, shaken = np.zeros((49, 49)), np.zeros((7, 7))
    for order in orders:
        whole, noise = np.eye(7), np.zeros((7, 7))
        for rows in order:
            step, fresh = step_of(method, list(rows), design, y, h, temperature)
            whole, noise = step @ whole, step @ noise @ step.T + fresh
        moved += np.kron(whole, whole) / len(orders)
        shaken += noise / len(orders)
    start = np.diag([1.0] * 3 + [temperature] * 3 + [1.0])
    kept = []
    for number in range(RUN["warmup"] * 16 // steps + RUN["draws"]):
        start = (moved @ start.ravel()).reshape(7, 7) + shaken
        kept.append((number, start))
    moments = np.mean([moment for _, moment in kept[-RUN["draws"] :]], axis=0)
    return moments[:3, 6], moments[:3, :3]


@pytest.mark.filterwarnings("ignore:the kinetic temperature")
@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("batch", [2, 3])
@pytest.mark.parametrize(("method", "share"), [("sghmc", 0.3), ("sgld", 0.15)])
def test_moments_on_batches_are_the_exact_ones(data, method, share, batch, temperature):
    """They hold the scaling by n/b, the variance that batches add, and the shuffling."""
    X, y, design = data
    values = np.linalg.eigvalsh(np.eye(3) + design.T @ design)
    h = share * 2 / (values[-1] if method == "sgld" else np.sqrt(values[-1]))
    mean, second = predicted(method, batch, design, y, h, temperature)
    options = RUN | {"steps": N // batch, "warmup": RUN["warmup"] * 16 // (N // batch)}
    options |= {"batch": batch, "temperature": temperature, "method": method}
    found = sgmcmc.sample(LINEAR, X, y, step_size=h, seed=3, **options)
    check_moments(found, mean, second)
    if temperature == 0:  # what is left is due to batches
        assert np.all(coordinates(found).std(axis=(0, 1)) > 0.01)


@pytest.mark.parametrize("method", ["sghmc", "sgld"])
def test_at_temperature_0_injected_noise_leaves_no_spread(data, method):
    X, y, design = data
    options = RUN | {"temperature": 0.0, "method": method, "warmup": 60}
    found = sgmcmc.sample(LINEAR, X, y, **options)
    z = coordinates(found)
    assert np.ptp(z, axis=(0, 1)).max() < 1e-3
    np.testing.assert_allclose(z[0, -1], posterior(design, y, 1.0, 1.0).mean, atol=1e-3)


def test_cycles_and_preconditioning_leave_the_posterior_as_it_is(data):
    """One feature has ten times the scale of the other."""
    X, y, design = data
    scale = np.array([10.0, 1.0, 1.0])
    exact = posterior(design * scale, y, 1.0, 1.0)
    options = RUN | {"warmup": 40}
    plain = sgmcmc.sample(LINEAR, X * scale[:2], y, **options | {"draws": 1, "warmup": 2})
    better = {"precondition": True, "cycles": 4}
    found = sgmcmc.sample(LINEAR, X * scale[:2], y, **options, **better)
    assert found.theta.shape == (400, 20, 3)
    check_moments(found, exact.mean, second_moment(exact.mean, exact.covariance))
    ours, theirs = (each.details["largest_stable_step"] for each in (found, plain))
    assert ours > 5 * theirs
    assert found.details["scales"][0] < 0.2 * found.details["scales"][2]


def test_without_data_the_posterior_is_the_prior():
    head = MLP((3,), weight_scale=1.5, bias_scale=0.5)
    empty = np.zeros((0, 2)), np.zeros(0)
    found = sgmcmc.sample(head, *empty, chains=500, draws=1, warmup=3, steps=4)
    for layer, fresh in zip(
        found.parameters, (1.5 / np.sqrt(2), 1.5 / np.sqrt(3)), strict=True
    ):
        for part, scale in zip(layer, (fresh, 0.5), strict=True):
            assert kstest(part.ravel() / scale, norm.cdf).pvalue > 0.001


def test_a_small_network_answers_as_by_hmc():
    """Probabilities agree to 4.5 standard errors of both, at the step chosen by default."""
    rng = np.random.default_rng(4)
    X = rng.standard_normal((30, 2))
    y = (X[:, 0] * X[:, 1] + 0.5 * rng.standard_normal(30) > 0).astype(float)
    head, new = MLP((3,), weight_scale=2.0), 2 * rng.standard_normal((6, 2))
    exact = hmc.sample(head, X, y, draws=100, warmup=100, chains=40, steps=16)
    found = sgmcmc.sample(head, X, y, draws=100, warmup=30, chains=40, steps=32)
    means, errors = [], []
    for each in (exact, found):
        p = each.sample_proba(new).reshape(40, -1, 6).mean(axis=1)
        means.append(p.mean(axis=0))
        errors.append(p.std(axis=0) / np.sqrt(40))
    assert np.hypot(*errors).max() < 0.02
    assert np.all(np.abs(means[0] - means[1]) < 4.5 * np.hypot(*errors))
    batches = {"draws": 100, "warmup": 30, "chains": 40, "steps": 32, "batch": 8}
    with warnings.catch_warnings(action="error"):
        found = sgmcmc.sample(head, X, y, **batches)
    assert np.abs(found.sample_proba(new).mean(axis=0) - means[0]).max() < 0.04
    with pytest.warns(RuntimeWarning, match="kinetic temperature is 1.[3-9]"):
        sgmcmc.sample(head, X, y, step_size=0.1, **batches)


class Stopped(Exception):
    pass


def test_an_interrupted_run_continues_to_the_same_draws(data, tmp_path, monkeypatch):
    X, y, _ = data
    path = tmp_path / "chains.safetensors"
    options = {"draws": 30, "warmup": 30, "chains": 3, "steps": 3, "batch": 2}
    options |= {"precondition": True, "cycles": 2, "loss": Squared(), "seed": 5}
    whole = sgmcmc.sample(LINEAR, X, y, **options)
    save, saves = Checkpoint.save, []

    def stop(self, run):
        save(self, run)
        saves.append(run.round)
        if len(saves) in (1, 3):
            raise Stopped

    monkeypatch.setattr(Checkpoint, "save", stop)
    for _ in range(2):
        with pytest.raises(Stopped):
            sgmcmc.sample(LINEAR, X, y, checkpoint=path, **options)
    with pytest.raises(ValueError, match="other data or settings"):
        sgmcmc.sample(LINEAR, X, y, checkpoint=path, **options | {"temperature": 2.0})
    found = sgmcmc.sample(LINEAR, X, y, checkpoint=path, **options)
    np.testing.assert_array_equal(found.theta, whole.theta)
    assert found.details["step_size"] == whole.details["step_size"]
    assert not path.exists()


def test_a_step_out_of_range_says_so(data):
    X, y, _ = data
    options = {"draws": 20, "warmup": 20, "chains": 3, "loss": Squared()}
    with pytest.raises(ArithmeticError, match="step_size is 2"), pytest.warns(RuntimeWarning):
        sgmcmc.sample(LINEAR, X, y, step_size=2.0, **options)
    with (
        pytest.warns(RuntimeWarning, match="largest that is stable"),
        pytest.warns(RuntimeWarning, match="kinetic temperature"),
    ):
        sgmcmc.sample(LINEAR, 9 * X, y > 0, 2, 2, 3, step_size=1.0)
    with pytest.raises(ArithmeticError, match="rescale X"):
        sgmcmc.sample(LINEAR, 1e30 * X, y, **options)


def test_progress_shows(data, capfd):
    X, y, _ = data
    sgmcmc.sample(LINEAR, X, y, 20, 20, 3, loss=Squared(), progress=True)
    assert "40/40" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"X": np.full((4, 2), np.nan)}, "X holds NaN"),
        ({"y": np.array([0, 1, 2, 1])}, "y holds"),
        ({"y": np.full(4, np.nan), "loss": Squared()}, "y holds NaN"),
        ({"draws": 0}, "draws is 0"),
        ({"warmup": 0}, "warmup is 0"),
        ({"batch": 0}, "batch is 0"),
        ({"batch": 1.5}, "batch is 1.5"),
        ({"step_size": -0.1}, "step_size is -0.1"),
        ({"friction": 0}, "friction is 0"),
        ({"temperature": -1}, "temperature is -1"),
        ({"temperature": np.inf}, "temperature is inf"),
        ({"cycles": 7}, "cycles is 7"),
        ({"method": "gibbs"}, "method is 'gibbs'"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_bad_input_is_named(change, said):
    arguments = {"X": np.ones((4, 2)), "y": np.array([0, 1, 0, 1]), **change}
    with pytest.raises(ValueError, match=said):
        sgmcmc.sample(MLP(), **arguments)
