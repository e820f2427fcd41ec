"""One device, eight devices and two processes give the same draws, to rounding."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from jax.sharding import Mesh

from elkutils.inference.logistic import hmc, variational

SCRIPT = Path(__file__).with_name("sharded.py")
N = 900


def start(output, n, rows, chains, *distributed, devices=1):
    environment = os.environ | {
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
        "JAX_PLATFORMS": "cpu",
    }
    arguments = map(str, (SCRIPT, output, n, rows, chains, *distributed))
    return subprocess.Popen(
        [sys.executable, *arguments], env=environment, stderr=subprocess.PIPE, text=True
    )


def finish(*processes):
    for process in processes:
        _, errors = process.communicate(timeout=240)
        assert process.returncode == 0, errors[-3000:]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    def run(n):
        if n not in found:
            output = tmp_path_factory.mktemp("alone") / "found.npz"
            finish(start(output, n, 1, 1))
            found[n] = np.load(output)
        return found[n]

    found = {}
    return run


def same(found, alone):
    """To float32's rounding; a step of many may turn the other way where luck is that close."""
    theta = alone["theta"]
    assert np.abs(found["theta"] - theta).max() < 1e-3 * theta.std()


@pytest.mark.parametrize(("n", "shape"), [(N, (8, 1)), (N, (4, 2)), (N + 1, (7, 1))], ids=str)
def test_eight_devices(alone, tmp_path, n, shape):
    """901 rows are no multiple of 7, nor are the 960 to which they are padded."""
    finish(start(tmp_path / "found.npz", n, *shape, devices=8))
    found, expected = np.load(tmp_path / "found.npz"), alone(n)
    same(found, expected)
    for name in ("value", "slope"):
        scale = np.abs(expected[name]).max()
        np.testing.assert_allclose(found[name], expected[name], rtol=0, atol=1e-4 * scale)


def test_two_processes(alone, tmp_path):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    output = tmp_path / "found.npz"
    finish(*(start(output, N, 2, 1, process, address) for process in range(2)))
    same(np.load(output), alone(N))


@pytest.mark.parametrize(
    ("axes", "memory", "told"),
    [
        (("rows",), None, r"mesh has the axes \('rows',\)"),
        (("data", "chains"), None, "mesh has the axes"),
        (None, None, "has to be a jax.sharding.Mesh of the axes 'rows'"),
        (("rows", "chains"), 1000, "memory is 1000, and there is a mesh"),
    ],
    ids=str,
)
def test_a_mesh_that_does_not_fit_is_refused(axes, memory, told):
    mesh = devices = np.array(jax.devices()[:1])
    if axes is not None:
        mesh = Mesh(devices.reshape([1] * len(axes)), axes)
    data = np.eye(4), np.array([0.0, 1, 0, 1]), np.ones(5)
    with pytest.raises(ValueError, match=told):
        hmc.sample(*data, draws=10, memory=memory, mesh=mesh)
    with pytest.raises(ValueError, match=told):
        variational.fit(*data, memory=memory, mesh=mesh)


def test_chains_that_the_mesh_does_not_divide_are_refused(tmp_path):
    _, errors = start(tmp_path / "found.npz", N, 2, 3, devices=8).communicate(timeout=240)
    assert "ValueError: chains is 8; it has to be a multiple of 3, the size" in errors
