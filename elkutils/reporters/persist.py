"""Reporters on disk: `reporter.json` and `arrays.safetensors`, parameters and what was learned.

No pickles. The folder is written under a temporary name and renamed, so it is whole or absent,
and the JSON carries the digest of the arrays, so that damage is noticed when it is read.
"""

import hashlib
import json
from dataclasses import asdict, is_dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as dump_arrays
from sklearn.utils.validation import check_is_fitted

from elkutils.files import atomic_path
from elkutils.inference.logistic import LogisticPath
from elkutils.reporters.base import Reporter
from elkutils.reporters.bayesian import BayesianLogistic
from elkutils.reporters.ensemble import Ensemble
from elkutils.reporters.linear import DifferenceInMeans, LinearDiscriminant
from elkutils.reporters.logistic import LogisticMAP

FORMAT = 1
KINDS = {
    c.__name__: c
    for c in (BayesianLogistic, DifferenceInMeans, Ensemble, LinearDiscriminant, LogisticMAP)
}
HEADS = ("MLP",)
NESTED = ("path_", "sample_stats_")


def save(reporter: Reporter, folder: str | Path) -> None:
    """Write a fitted reporter to `folder`, replacing what stands there.

    Raises
    ------
    OSError
        If it cannot be written, for one when the disk is full; `folder` is then as it was.
    """
    check_is_fitted(reporter)
    arrays = dump_arrays(_arrays(reporter))
    about = {
        "format": FORMAT,
        "reporter": type(reporter).__name__,
        "parameters": {name: _plain(value) for name, value in reporter.get_params().items()},
        "classes": {"dtype": reporter.classes_.dtype.str, "values": reporter.classes_.tolist()},
        "features": getattr(reporter, "feature_names_in_", np.array([])).tolist(),
        "sha256": hashlib.sha256(arrays).hexdigest(),
    }
    with atomic_path(folder) as fresh:
        fresh.mkdir()
        (fresh / "arrays.safetensors").write_bytes(arrays)
        (fresh / "reporter.json").write_text(json.dumps(about, indent=1), encoding="utf-8")


def load(folder: str | Path) -> Reporter:
    """Read a reporter that `save` wrote; its draws are identical.

    Raises
    ------
    ValueError
        If `folder` is no saved reporter, is damaged, or was written by a later format.
    """
    folder = Path(folder)
    try:
        about = json.loads((folder / "reporter.json").read_text(encoding="utf-8"))
        arrays = (folder / "arrays.safetensors").read_bytes()
        written, kind, digest = about["format"], about["reporter"], about["sha256"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"folder is {str(folder)!r}, which holds no reporter: {error}"
        ) from error
    if written != FORMAT or kind not in KINDS:
        raise ValueError(
            f"folder holds a {kind!r} of format {written!r}; this version reads format {FORMAT}"
            f" of {', '.join(KINDS)}"
        )
    if hashlib.sha256(arrays).hexdigest() != digest:
        raise ValueError(f"folder is {str(folder)!r}, whose arrays.safetensors is damaged")
    return _rebuild(about, load_arrays(arrays))


def _arrays(reporter: Reporter) -> dict[str, np.ndarray]:
    """What was learned, as arrays: nested ones under "path_.coefs" and the like."""
    found = {}
    for name, value in vars(reporter).items():
        if not name.endswith("_") or name in ("classes_", "feature_names_in_") or value is None:
            continue
        if name in NESTED:
            fields = value if isinstance(value, dict) else asdict(value)
            found |= {
                f"{name}.{key}": np.ascontiguousarray(part) for key, part in fields.items()
            }
        else:
            found[name] = np.array(value, order="C")
    return found


def _rebuild(about: dict, arrays: dict[str, np.ndarray]) -> Reporter:
    parameters = {name: _revived(value) for name, value in about["parameters"].items()}
    reporter = KINDS[about["reporter"]](**parameters)
    reporter.classes_ = np.array(about["classes"]["values"], dtype=about["classes"]["dtype"])
    if about["features"]:
        reporter.feature_names_in_ = np.array(about["features"], dtype=object)
    nested = {name: {} for name in NESTED}
    for name, value in arrays.items():
        outer, _, inner = name.partition(".")
        if inner:
            nested[outer][inner] = value
        else:
            setattr(reporter, name, value.item() if value.ndim == 0 else value)
    if isinstance(reporter, LogisticMAP):
        reporter.path_ = LogisticPath(**nested["path_"]) if nested["path_"] else None
        reporter.cv_log_score_ = arrays.get("cv_log_score_")
    if isinstance(reporter, BayesianLogistic):
        reporter.sample_stats_ = nested["sample_stats_"]
    return reporter


def _plain(value):
    """A constructor's parameter as JSON has it; a head is its name and what it is made of."""
    if is_dataclass(value):
        return {"head": type(value).__name__} | asdict(value)
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value


def _revived(value):
    """The parameter that `_plain` wrote."""
    if not isinstance(value, dict):
        return value
    from elkutils.inference import heads

    arguments = {k: tuple(v) if isinstance(v, list) else v for k, v in value.items()}
    kind = arguments.pop("head")
    if kind not in HEADS:
        raise ValueError(f"folder holds a head {kind!r}; this version reads {HEADS}")
    return getattr(heads, kind)(**arguments)
