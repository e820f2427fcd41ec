"""The book's core claims on a second language model, judged by the chapters' rules.

`measure` runs the parts of `elkutils.study.core_claims` on a model, `judge` computes the
verdicts by the rules of ``claims.json``, and `compared` sets those of two models side by side.
The command line adds a model to a file of such entries, and continues a run that was
interrupted::

    python -m elkutils.study.second_model --model PATH --licence NAME --output FILE
"""

import argparse
import hashlib
import json
import math
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from elkutils import ledger, profiles
from elkutils.evaluation import Interval, PassRate
from elkutils.files import atomic_path, cache_dir
from elkutils.study import readings
from elkutils.study.core_claims import PARTS, Found
from elkutils.study.timings import provenance

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

CLAIMS = ("C0", "C2", "C5d", "C11a", "C11b", "C11c", "C13a", "C13b", "C13c", "C14a", "C14b")


def measure(
    model: "TransformerBridge",
    folder: str | Path | None = None,
    tell: Callable[[str], object] = lambda line: None,
) -> dict[str, Any]:
    """Measure all claims of `CLAIMS` on a model; return an entry, as JSON takes it.

    Parameters
    ----------
    model : TransformerBridge
        As `elkutils.models.load_model` returns it, of at least six layers.
    folder : path or None
        Where parts are kept; a call with the same model and profile continues from there. None
        for one in the cache.
    tell : callable
        Takes a line of progress.

    Returns
    -------
    dict
        "layers", "width", "start token", "dtype", "profile", "seeds", "asked seeds" and
        "parts": by name the conditions, the controls and what is shown, and the CPU seconds.

    Raises
    ------
    ValueError
        If the model has fewer than six layers, or an activation is not finite.
    """
    from elkutils.models.state import model_digest

    if model.cfg.n_layers < 6:
        raise ValueError(f"model has {model.cfg.n_layers} layers; it needs at least 6")
    starts, dtype = bool(model.cfg.default_prepend_bos), str(model.cfg.dtype)
    dtype = dtype.removeprefix("torch.")
    key = f"{model_digest(model)}-{profiles.active()}-{dtype}" + "-start" * starts
    place, parts = Path(folder or cache_dir() / "second-model") / key, {}
    for name, part in PARTS.items():
        path = place / f"{name}.json"
        if not path.exists():
            tell(f"{name} …")
            begun = time.process_time()
            found = _plain(part(model)) | {"cpu_seconds": round(time.process_time() - begun, 1)}
            with atomic_path(path) as fresh:
                fresh.write_text(json.dumps(found), "utf-8")
        parts[name] = json.loads(path.read_text("utf-8"))
        tell(f"{name}: {parts[name]['cpu_seconds']:.0f} CPU s")
    return {
        "layers": model.cfg.n_layers,
        "width": model.cfg.d_model,
        "start token": starts,
        "dtype": dtype,
        "profile": profiles.active(),
        "seeds": list(readings.seeds()),
        "asked seeds": list(readings.rival_seeds()),
        "parts": parts,
    }


def recorded() -> dict[str, Any]:
    """Return the recorded run: its provenance, and "models" with an entry by name."""
    return ledger.recorded_run("second-model")


def judge(entry: Mapping[str, Any]) -> dict[str, ledger.Verdict]:
    """Return the verdict on each claim of an entry, by the rules of ``claims.json``.

    A claim some criterion of which has no place, because nothing can be read there, is
    undecided.
    """
    chapter, verdicts = ledger.Chapter("second-model"), {}
    conditions, controls = {}, {}
    for part in entry["parts"].values():
        conditions |= part["conditions"]
        controls |= part["controls"]
    for id in CLAIMS:
        claim, values = ledger.claims()[id], conditions.get(id, {})
        if set(claim.criteria) - {claim.split(name)[0] for name in values}:
            verdicts[id] = ledger.Verdict(id, ledger.UNDECIDED, note="nothing to judge by")
            continue
        for criterion, pair in controls[id].items():
            chapter.control(id, criterion, *(PassRate(**pair[sign]) for sign in pair))
        values = {name: decoded(value) for name, value in values.items()}
        verdicts[id] = chapter.decide(id, values)
    return verdicts


def decoded(value: Mapping[str, float] | float | list) -> Any:
    """Return an interval of an entry as such; numbers as they are, lists one by one."""
    if isinstance(value, list):
        return [decoded(each) for each in value]
    return Interval(**value) if isinstance(value, Mapping) else value


def shown(entry: Mapping[str, Any], part: str) -> dict[str, Any]:
    """Return what a part of an entry shows and does not judge, intervals as such."""
    return {name: decoded(value) for name, value in entry["parts"][part]["shown"].items()}


def numbers(entry: Mapping[str, Any]) -> dict[str, Interval]:
    """Return all intervals of an entry by "claim, condition" or, unjudged, "part, name"."""
    found = {}
    for part, about in entry["parts"].items():
        groups = about["conditions"] | {part: about["shown"]}
        for group, values in groups.items():
            pairs = ((name, decoded(value)) for name, value in values.items())
            found |= {f"{group}, {n}": v for n, v in pairs if isinstance(v, Interval)}
    return found


def compared(one: ledger.Verdict, other: ledger.Verdict) -> dict[str, list[str]]:
    """Return what a claim measures by how its outcomes on two models agree.

    Outcomes are those of each condition by itself, not of all places at once.

    Returns
    -------
    dict of str to list of str
        "same": both hold or both fail. "opposite": one holds, one fails. "open": one or both
        are undecided, or it was measured on one of the models only.
    """
    found = {"same": [], "opposite": [], "open": []}
    for name in {**one.conditions, **other.conditions}:
        pair = {one.conditions.get(name), other.conditions.get(name)}
        if pair <= {ledger.HOLDS, ledger.FAILS}:
            found["same" if len(pair) == 1 else "opposite"].append(name)
        else:
            found["open"].append(name)
    return found


def _plain(found: Found) -> dict[str, Any]:
    """What was found, as JSON takes it: numbers to six digits."""
    controls = {
        id: {
            name: dict(zip(("positive", "negative"), map(asdict, pair), strict=True))
            for name, pair in pairs.items()
            if pair is not None
        }
        for id, pairs in found.controls.items()
    }
    conditions = {
        id: {name: _rounded(value) for name, value in values.items()}
        for id, values in found.conditions.items()
    }
    told = {name: _rounded(value) for name, value in found.shown.items()}
    return {"conditions": conditions, "controls": controls, "shown": told}


def _rounded(value: Any) -> Any:
    if isinstance(value, Interval):
        pairs = asdict(value).items()
        return {name: float(f"{v:.6g}") for name, v in pairs if math.isfinite(v)}
    if isinstance(value, (list, tuple)):
        return [_rounded(each) for each in value]
    return float(f"{value:.6g}") if isinstance(value, (float, np.floating)) else value


def weights(model: str) -> dict[str, str | None]:
    """Return name, digest and licence of a model's weights; None for what is not known.

    Parameters
    ----------
    model : str
        As `elkutils.models.load_model` takes it. Only files and packaged weights have digests.
    """
    from elkutils.models.language import PACKAGED

    if model in PACKAGED:
        about = PACKAGED[model]
        name = about.architecture.rpartition("/")[2]
        return {"name": name, "sha256": about.sha256, "licence": about.licence}
    path = Path(model).expanduser()
    if not path.is_file():
        return {"name": model, "sha256": None, "licence": None}
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"name": path.stem, "sha256": digest, "licence": None}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m elkutils.study.second_model")
    parser.add_argument("--model", default="smollm2", help="as load_model takes it")
    parser.add_argument("--dtype", help="float32 by default")
    parser.add_argument("--name", help="under which the entry stands")
    parser.add_argument("--licence", help="of the weights")
    parser.add_argument("--profile", choices=("quick", "book", "full"), default="book")
    parser.add_argument("--parts", type=Path, help="a folder; in the cache by default")
    parser.add_argument("--output", type=Path, required=True, help="a file, made or added to")
    args = parser.parse_args(arguments)
    os.environ["ELKUTILS_PROFILE"] = args.profile

    from elkutils.models import load_model

    begun = time.perf_counter()

    def tell(line: str) -> None:
        print(f"{time.perf_counter() - begun:5.0f} s  {line}", file=sys.stderr, flush=True)

    about = weights(args.model)
    name = args.name or about["name"]
    about = {"sha256": about["sha256"], "licence": args.licence or about["licence"]}
    command = f"python -m elkutils.study.second_model --profile {args.profile}"
    about |= provenance(command, "torch", "transformers", "transformer-lens")
    entry = about | measure(load_model(args.model, dtype=args.dtype), args.parts, tell)
    whole = json.loads(args.output.read_text("utf-8")) if args.output.exists() else {}
    models = whole.get("models", {}) | {name: entry}
    args.output.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(args.output) as fresh:
        fresh.write_text(json.dumps({"models": models}, indent=1) + "\n", "utf-8")
    for verdict in judge(entry).values():
        print(verdict)


if __name__ == "__main__":
    main()
