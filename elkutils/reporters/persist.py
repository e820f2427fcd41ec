"""Reporters on disk: `reporter.json` and `arrays.safetensors`.

The first holds the parameters, the second what was learned. No pickles. The folder is written
under a temporary name and renamed, so it is whole or absent,
and the JSON file carries the digest of the arrays, so that damage is noticed on reading. Each
reporter provides what it learned (`state`) and registers its class when it is defined; nothing
here refers to a particular reporter.
"""

import hashlib
import importlib
import json
import sys
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as dump_arrays
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from elkutils.files import atomic_path
from elkutils.reporters.moments import is_centred
from elkutils.source import Source, source_of

if TYPE_CHECKING:
    from elkutils.reporters.base import Reporter

FORMAT, CARRIES = 1, 2  # the second has a scaling or a source, which 0.2 would not apply
ARRAYS, ABOUT = "arrays.safetensors", "reporter.json"
KINDS: dict[str, type] = {}
APART = ("classes_", "feature_names_in_", "source_")  # learned, but no numbers: saved as JSON


def register(cls: type) -> None:
    """Make `load` find this class of reporters."""
    KINDS[kind_of(cls)] = cls


def kind_of(cls: type) -> str:
    """Return the name of the class in a saved reporter."""
    ours = cls.__module__.startswith("elkutils.")
    return cls.__name__ if ours else f"{cls.__module__}.{cls.__qualname__}"


def forget(reporter: "Reporter", source: Source | None) -> None:
    """Begin a fit on X of this source: no scaling, and no source from an earlier fit."""
    for name in ("scaling_", "source_"):
        vars(reporter).pop(name, None)
    if source is not None:
        reporter.source_ = source


def carry(
    reporter: "Reporter",
    source: Source | None,
    mean: ArrayLike | None,
    scale: ArrayLike | None,
) -> None:
    """Give a fitted reporter its source and scaling; see `Reporter.carry`."""
    if not (source is None or isinstance(source, Source)):
        raise ValueError(
            f"source is {source!r}; it has to be the source of an array from "
            "elkutils.models.activations"
        )
    count = reporter.n_features_in_
    known = getattr(reporter, "scaling_", np.stack([np.zeros(count), np.ones(count)]))
    mean = known[0] if mean is None else _per_feature("mean", mean, count)
    scale = known[1] if scale is None else _per_feature("scale", scale, count)
    if not (scale > 0).all():
        raise ValueError(
            f"scale is {scale[np.argmin(scale)]} in column {np.argmin(scale)}; it has to be "
            "above 0: leave constant columns out, or divide them by 1"
        )
    if (mean != 0).any() or (scale != 1).any():
        reporter.scaling_ = np.stack([mean, scale])
    if source is not None:
        reporter.source_ = source


def check_source(reporter: "Reporter", X: object) -> None:
    """Raise ValueError if X was read elsewhere than what the reporter was fitted on.

    So it does if X has activations as they were read, and the reporter was fitted on features
    that somebody had centred, and was not told how (`carry`).
    """
    ours, theirs = getattr(reporter, "source_", None), source_of(X)
    if theirs is None:
        return
    if ours is not None:
        ours.check(theirs)
    known = getattr(reporter, "moments_", None)
    if known is not None and not hasattr(reporter, "scaling_") and is_centred(known):
        raise ValueError(
            "X has activations as they were read, but this reporter was fitted on features of "
            "mean 0, z-scored by hand it seems, and does not know by what: call "
            "reporter.carry(X.source, mean, scale) with what was subtracted and divided by, or "
            "fit make_pipeline(StandardScaler(), reporter) to the activations; or pass "
            "np.asarray(X) if X is meant as it is"
        )


def scaled(reporter: "Reporter", X: np.ndarray) -> np.ndarray:
    """Return X as the reporter saw it when it was fitted."""
    scaling = getattr(reporter, "scaling_", None)
    return X if scaling is None else (X - scaling[0]) / scaling[1]


def _per_feature(name: str, values, count: int) -> np.ndarray:
    try:
        found = np.broadcast_to(np.asarray(values, dtype=np.float64), (count,))
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{name} has the shape {np.shape(values)}; it has to be a number, or one for each "
            f"of {count} columns"
        ) from error
    if not np.isfinite(found).all():
        bad = np.flatnonzero(~np.isfinite(found))[0]
        raise ValueError(f"{name} is {found[bad]} in column {bad}; it has to be finite")
    return found


def save(reporter: "Reporter", folder: str | Path) -> None:
    """Write a fitted reporter to `folder`, replacing one that is there.

    Parameters that were set after the fit are written beside those of the fit.

    Raises
    ------
    ValueError
        If the reporter is not fitted, or holds something that `load` could not read back; or if
        `folder` is a file, a link, or a folder with anything but a saved reporter in it.
    OSError
        If it cannot be written, for example because the disk is full; `folder` is then
        unchanged.
    """
    folder = Path(folder).expanduser()
    _check_target(folder)
    check_is_fitted(reporter)
    state = _arrays(reporter.state())
    arrays = dump_arrays(state)
    carries = {"scaling_", "source_"} & vars(reporter).keys()
    about = {
        "format": CARRIES if carries else FORMAT,
        "reporter": kind_of(type(reporter)),
        **_parameters(reporter),
        "classes": {"dtype": reporter.classes_.dtype.str, "values": reporter.classes_.tolist()},
        "features": getattr(reporter, "feature_names_in_", np.array([])).tolist(),
        "sha256": hashlib.sha256(arrays).hexdigest(),
    }
    if (source := getattr(reporter, "source_", None)) is not None:
        about["source"] = asdict(source)
    text = _json(about)
    _check_readable(reporter, state, text)
    with atomic_path(folder) as fresh:
        fresh.mkdir()
        (fresh / ARRAYS).write_bytes(arrays)
        (fresh / ABOUT).write_text(text, encoding="utf-8")


def load(folder: str | Path) -> "Reporter":
    """Read a reporter that `save` wrote; its draws are identical.

    Raises
    ------
    ValueError
        If `folder` is no saved reporter, is damaged, was written by a later format, or holds
        a class that has not been defined: import the module of a reporter of your own first.
    """
    folder = Path(folder).expanduser()
    try:
        about = json.loads((folder / "reporter.json").read_text(encoding="utf-8"))
        arrays = (folder / "arrays.safetensors").read_bytes()
        written, kind, digest = about["format"], about["reporter"], about["sha256"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"folder is {str(folder)!r}, which holds no reporter: {error}"
        ) from error
    if isinstance(written, bool) or written not in (FORMAT, CARRIES):
        raise ValueError(
            f"folder holds format {written!r}; this version reads format {FORMAT} and {CARRIES}"
        )
    if not isinstance(kind, str) or kind not in KINDS:
        module = str(kind).rpartition(".")[0]
        hint = f"import the module {module} first" if module else f"it knows {sorted(KINDS)}"
        raise ValueError(
            f"folder holds a {kind!r}, a reporter that has not been defined: {hint}"
        )
    if hashlib.sha256(arrays).hexdigest() != digest:
        raise ValueError(f"folder is {str(folder)!r}, whose arrays.safetensors is damaged")
    try:
        reporter = _rebuild(about, load_arrays(arrays))
        _check_whole(reporter)
    except (TypeError, KeyError, AttributeError, ValueError, OverflowError) as error:
        raise ValueError(
            f"folder is {str(folder)!r}, whose reporter.json does not describe a {kind} of its "
            f"arrays.safetensors: {error}"
        ) from error
    return reporter


def _check_whole(reporter: "Reporter") -> None:
    """Raise ValueError unless a reporter that was read could have been fitted."""
    check_is_fitted(reporter)
    labels, names = reporter.classes_, getattr(reporter, "feature_names_in_", None)
    if labels.shape != (2,) or labels[0] == labels[1]:
        raise ValueError(f"classes are {labels.tolist()}; it has to have two")
    if names is not None and len(names) != reporter.n_features_in_:
        raise ValueError(
            f"it has {len(names)} names of features, and {reporter.n_features_in_} features"
        )


def _check_target(folder: Path) -> None:
    """Raise ValueError unless writing to `folder` harms nothing but a saved reporter."""
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        found = "a link" if folder.is_symlink() else "a file"
    elif not folder.name:
        found = "a folder without a name"
    else:
        held = {path.name for path in folder.iterdir()} if folder.exists() else set()
        others = sorted(held - {ARRAYS, ABOUT})
        if not others and _is_ours(folder, held):
            return
        found = f"a folder with other files ({', '.join(others[:3] or sorted(held))})"
    raise ValueError(
        f"folder is {str(folder)!r}, {found}; it has to be new, empty or a saved reporter"
    )


def _is_ours(folder: Path, held: set[str]) -> bool:
    """Whether what a folder holds, if anything, was written by `save`, and not under a link."""
    if not held:
        return True
    if any((folder / name).is_symlink() or not (folder / name).is_file() for name in held):
        return False
    try:
        about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(about, dict) and {"format", "reporter", "sha256"} <= about.keys()


def _arrays(state: dict) -> dict[str, np.ndarray]:
    """Return what was learned, as arrays that safetensors can hold."""
    found = {}
    for name, value in state.items():
        if value is None:
            continue
        array = np.array(value, order="C")
        if array.dtype.kind not in "biuf":
            raise ValueError(
                f"the reporter learned {name} of type {type(value).__name__}; what is saved has"
                " to be numbers: override `state` and `restore`"
            )
        found[name] = array
    return found


def _rebuild(about: dict, arrays: dict[str, np.ndarray]) -> "Reporter":
    reporter = _made(KINDS[about["reporter"]], about)
    reporter.classes_ = np.array(about["classes"]["values"], dtype=about["classes"]["dtype"])
    if about["features"]:
        reporter.feature_names_in_ = np.array(about["features"], dtype=object)
    if about.get("source"):
        reporter.source_ = Source(**about["source"])
    arrays = {k: value.item() if value.ndim == 0 else value for k, value in arrays.items()}
    if "n_features_in_" in arrays:  # heads are made from it
        reporter.n_features_in_ = arrays["n_features_in_"]
    reporter.restore(arrays)
    set_since(reporter)
    return reporter


def _made(kind: type, about: dict):
    """An unfitted estimator with the parameters of the fit; `set_since` sets later ones."""
    now = {name: _revived(value) for name, value in about["parameters"].items()}
    then = about.get("parameters of the fit", about["parameters"])
    made = kind(**{name: _revived(value) for name, value in then.items()})
    if hasattr(kind, "_fitted_with"):
        made._fitted_with = made.get_params(deep=False)
        if then is not about["parameters"]:
            made._set_since = now
    return made


def set_since(reporter: "Reporter") -> None:
    """Give a reporter that was just read the parameters that were set after its fit."""
    for name, value in vars(reporter).pop("_set_since", {}).items():
        setattr(reporter, name, value)


def _check_readable(reporter, state: dict[str, np.ndarray], text: str) -> None:
    """Raise ValueError unless what would be written can be read back as the same reporter."""
    if KINDS.get(kind_of(type(reporter))) is not type(reporter):
        raise ValueError(
            f"{kind_of(type(reporter))} has been defined again since this reporter was made;"
            " `load` would read another class: fit it anew"
        )
    try:
        again = _rebuild(json.loads(text), dict(state))
        about = _parameters(again)
        learned = _arrays(again.state())
    except (TypeError, KeyError, AttributeError, ValueError) as error:
        raise ValueError(f"the reporter could not be read back: {error}") from error
    for name, value in vars(reporter).items():
        private = name.startswith("_") or name.endswith("_")
        other = not (private or name in about["parameters"])
        kept = getattr(again, name, None)
        if other and value is not kept and repr(value) != repr(kept):
            raise ValueError(
                f"{name} was set and would be lost: what is learned has to end in an"
                " underscore, or `state` and `restore` have to keep it"
            )
    written = json.loads(text)
    same = all(_json(value) == _json(written.get(name)) for name, value in about.items())
    same = same and learned.keys() == state.keys()
    if not (same and all(_equal(learned[name], state[name]) for name in state)):
        raise ValueError(
            "the reporter would not be the same when read back: `restore` has to undo `state`,"
            " and parameters have to be of JSON's types, arrays, or dataclasses of these"
        )


def _equal(a: np.ndarray, b: np.ndarray) -> bool:
    return np.array_equal(a, b, equal_nan=a.dtype.kind == b.dtype.kind == "f")


def _parameters(reporter) -> dict[str, dict]:
    """The parameters as JSON has them; those of the fit too, if others were set since."""
    now = reporter.get_params(deep=False)
    then = getattr(reporter, "_fitted_with", None) or now
    now, then = ({name: _plain(name, value) for name, value in p.items()} for p in (now, then))
    return {"parameters": now} | ({} if now == then else {"parameters of the fit": then})


def _json(value) -> str:
    try:
        return json.dumps(value, indent=1)
    except (TypeError, ValueError) as error:
        raise ValueError(f"a parameter of the reporter is not JSON's: {error}") from error


def _plain(name: str, value):
    """A constructor's parameter as JSON has it; a dataclass is its class and its fields."""
    if is_dataclass(value) and not isinstance(value, type):
        kind = type(value)
        if "<locals>" in kind.__qualname__:
            raise ValueError(
                f"{name} is a {kind.__qualname__}, a class made in a function; `load` could not"
                " find it: define it in a module"
            )
        held = {f.name: _plain(f.name, getattr(value, f.name)) for f in fields(value)}
        return {"dataclass": _path_of(kind)} | held
    if isinstance(value, np.ndarray):
        return {"array": value.tolist(), "dtype": value.dtype.str}
    if isinstance(value, tuple):
        return {"tuple": [_plain(name, part) for part in value]}
    if isinstance(value, list):
        return [_plain(name, part) for part in value]
    if isinstance(value, dict):
        pairs = [[_plain(name, key), _plain(name, part)] for key, part in value.items()]
        return {"dict": pairs}
    if isinstance(value, BaseEstimator):
        return {"estimator": _path_of(type(value))} | _parameters(value)
    return value.item() if isinstance(value, np.generic) else value


def _revived(value):
    """The parameter that `_plain` wrote."""
    if isinstance(value, list):
        return [_revived(part) for part in value]
    if not isinstance(value, dict):
        return value
    if "estimator" in value:
        return _made(_class_at(value["estimator"], BaseEstimator), value)
    if "array" in value:
        return np.array(value["array"], dtype=value["dtype"])
    if "dict" in value:
        return {_revived(key): _revived(part) for key, part in value["dict"]}
    if "tuple" in value:
        return tuple(_revived(part) for part in value["tuple"])
    if "head" in value:  # version 0.1: the name alone, and lists for tuples
        held = {k: tuple(v) if isinstance(v, list) else v for k, v in value.items()}
        return _class_at(f"elkutils.inference.networks.mlp:{held.pop('head')}")(**held)
    if "dataclass" in value:
        held = {k: _revived(v) for k, v in value.items() if k != "dataclass"}
        return _class_at(value["dataclass"])(**held)
    raise ValueError(f"a parameter is {value!r}, which this version cannot read")


def _path_of(kind: type) -> str:
    return f"{kind.__module__}:{kind.__qualname__}"


def _class_at(path: str, base: type | None = None) -> type:
    """The class at "module:name", a dataclass or one of `base`.

    A module of ours or of scikit-learn is imported, others have to be.
    """
    module, _, name = path.partition(":")
    if module.startswith(("elkutils.", "sklearn.")):
        importlib.import_module(module)
    found = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    fits = isinstance(found, type) and (
        is_dataclass(found) if base is None else issubclass(found, base)
    )
    if not fits:
        raise ValueError(
            f"folder holds a {path!r}, which has not been defined: import its module first"
        )
    return found
