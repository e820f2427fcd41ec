"""The wheel alone, without torch, serves people who bring their own activations."""

import hashlib
import re
import subprocess
import sys
import tomllib

import numpy as np
import pytest

MORE_TO_IMPORT = 1.3  # of what scikit-learn and SciPy take, which every reporter needs
HEAVY = ("torch", "transformers", "jax", "numpyro", "arviz", "matplotlib")

TIME_THE_IMPORT = """
import time
start = time.process_time()
{}
print(time.process_time() - start)
"""

FIT_AND_DRAW = """
import sys
import numpy as np
from elkutils.reporters import (
    BayesianLogistic, DifferenceInMeans, Ensemble, LinearDiscriminant, LogisticMAP
)

for seed in range(3):
    rng = np.random.default_rng(seed)
    y = np.arange(60) % 2
    X = rng.normal(size=(60, 5)) + y[:, None]
    tiny = dict(draws=20, warmup=20, chains=2, seed=seed)
    for reporter, draws in [
        (DifferenceInMeans(), 1),
        (LinearDiscriminant(), 1),
        (LogisticMAP(prior_scale=1.0), 1),
        (BayesianLogistic(method="laplace", **tiny), 40),
        (BayesianLogistic(method="nuts", **tiny), 40),
        (BayesianLogistic(method="hmc", **tiny), 40),
        (Ensemble(5, steps=200, learning_rate=0.1, seed=seed), 5),
    ]:
        proba = reporter.fit(X, y).sample_proba(X)
        assert proba.shape == (draws, 60), (reporter, proba.shape)
        assert proba[:, y == 1].mean() > proba[:, y == 0].mean() + 0.2, reporter
assert "torch" not in sys.modules
"""


@pytest.fixture(scope="session")
def core_python(root, wheel):
    """A Python that has the wheel and its core dependencies at the locked versions, no more.

    Making it takes about a minute, so it is kept in ``_build`` until the dependencies change;
    the wheel itself goes in anew.
    """
    dependencies = tomllib.loads((root / "pyproject.toml").read_text())["project"][
        "dependencies"
    ]
    lock = root / "requirements.lock"
    key = hashlib.sha256(f"{sys.version}{dependencies}{lock.read_text()}".encode()).hexdigest()
    folder = root / "_build" / "core-environment"
    python, stamp = folder / "bin" / "python", folder / "dependencies.sha256"
    pip = [python, "-m", "pip", "--quiet", "--disable-pip-version-check", "install"]
    if not stamp.exists() or stamp.read_text() != key:
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        subprocess.run([*pip, "--constraint", lock, *dependencies], check=True)
        stamp.write_text(key)
    subprocess.run([*pip, "--no-deps", "--force-reinstall", wheel], check=True)
    return python


def run(python, code, cwd):
    """Run `code` away from the checkout; return what it printed."""
    command = [python, "-I", "-c", code]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def readme_example(root) -> str:
    (example,) = re.findall(r"```python\n(.*?)```", (root / "README.md").read_text(), re.DOTALL)
    return example


def section_on_own_arrays(root) -> str:
    page = (root / "book" / "your-own-model.md").read_text()
    section = re.search(r"\(own-arrays\)=\n## (.*?)\n## ", page, re.DOTALL)[1]
    return "\n".join(re.findall(r"```\{code-cell\}[^\n]*\n(.*?)```", section, re.DOTALL))


def test_environment_is_really_without_torch(core_python, tmp_path):
    code = "from importlib.util import find_spec; print(find_spec('torch'))"
    assert run(core_python, code, tmp_path).strip() == "None"


def test_package_comes_from_the_wheel(core_python, root, tmp_path):
    where = run(core_python, "import elkutils; print(elkutils.__file__)", tmp_path)
    assert "site-packages" in where


def test_import_is_light(core_python, tmp_path):
    """Seconds depend on the machine; how many times what is under it takes does not."""
    imports = "import sklearn.base, scipy.linalg", "import elkutils, elkutils.reporters"
    code = [TIME_THE_IMPORT.format(names) for names in imports]
    seconds = [[float(run(core_python, c, tmp_path)) for c in code] for _ in range(5)]
    below, ours = np.median(seconds, axis=0)
    assert ours < MORE_TO_IMPORT * below, seconds


def test_import_leaves_the_heavy_modules_alone(core_python, tmp_path):
    code = f"import sys, elkutils, elkutils.reporters; print(set({HEAVY}) & set(sys.modules))"
    assert run(core_python, code, tmp_path).strip() == "set()"


def test_reporters_fit_and_draw_without_torch(core_python, tmp_path):
    run(core_python, FIT_AND_DRAW, tmp_path)


def test_models_say_which_extra_they_need(core_python, tmp_path):
    code = "import elkutils.models"
    done = subprocess.run(
        [core_python, "-I", "-c", code], cwd=tmp_path, capture_output=True, text=True
    )
    last_line = done.stderr.strip().splitlines()[-1]
    assert done.returncode == 1
    assert last_line.startswith("ImportError")
    assert "torch" in last_line
    assert "'.[models]'" in last_line


def test_example_in_the_readme_runs_as_it_stands(core_python, root, tmp_path):
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 400)
    X = rng.normal(size=(400, 20)) + 2 * y[:, None] * (np.arange(20) == 0)
    np.save(tmp_path / "activations.npy", X.astype(np.float32))
    np.save(tmp_path / "labels.npy", y)

    printed = run(core_python, readme_example(root), tmp_path)

    # The classes are two standard deviations apart: the best AUROC there is is Φ(√2) = 0.92.
    auroc = float(re.search(r"AUROC (\S+)", printed)[1])
    assert 0.85 < auroc < 0.99
    assert "largest R-hat" in printed
    load = "import elkutils.reporters as r; print(r.load('my-reporter')[-1].prior_scale)"
    assert run(core_python, load, tmp_path).strip() == "evidence"


def test_section_on_own_arrays_runs_by_itself(core_python, root, tmp_path):
    printed = run(core_python, section_on_own_arrays(root), tmp_path)
    low, high = map(float, re.search(r"held-out AUROC \S+ \[(\S+), (\S+)\]", printed).groups())
    best = float(re.search(r"the best that can be expected (\S+)", printed)[1])
    assert 0.5 < low <= best <= high
