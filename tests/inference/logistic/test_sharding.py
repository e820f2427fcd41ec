"""One device, eight devices and two processes give the same draws, to rounding."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

SCRIPT = Path(__file__).with_name("sharded.py")


def start(output, rows, chains, *distributed, devices=1):
    environment = os.environ | {
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
        "JAX_PLATFORMS": "cpu",
    }
    arguments = map(str, (SCRIPT, output, rows, chains, *distributed))
    return subprocess.Popen(
        [sys.executable, *arguments], env=environment, stderr=subprocess.PIPE, text=True
    )


def finish(*processes):
    for process in processes:
        _, errors = process.communicate(timeout=240)
        assert process.returncode == 0, errors[-3000:]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    output = tmp_path_factory.mktemp("alone") / "theta.npy"
    finish(start(output, 1, 1))
    return np.load(output)


def same(found, alone):
    """To float32's rounding; a step of many may turn the other way where luck is that close."""
    assert np.abs(found - alone).max() < 1e-3 * alone.std()


@pytest.mark.parametrize("shape", [(8, 1), (4, 2)])
def test_eight_devices(alone, tmp_path, shape):
    finish(start(tmp_path / "theta.npy", *shape, devices=8))
    same(np.load(tmp_path / "theta.npy"), alone)


def test_two_processes(alone, tmp_path):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    output = tmp_path / "theta.npy"
    finish(*(start(output, 2, 1, process, address) for process in range(2)))
    same(np.load(output), alone)
