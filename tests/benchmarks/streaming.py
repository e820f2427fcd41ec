"""Record the time and the memory of posteriors of more rows than memory.

    python tests/benchmarks/streaming.py --output book/results/recorded/streaming.json

Two kinds of rows, each of `--rows` and `--tokens`: made up, 576 features and labels of a
logistic reporter; and tokens of the embedded model, one layer's activations at every token of
texts of four statements, labelled by the truth of the statement that a token belongs to. A run
has three stages, each in a process of its own, so that its memory is its own:

- "store": the rows are written to disk, those of tokens by `store_activations`;
- "draw": they are z-scored as they are read (`rows.Scaled`), and drawn by `hmc.sample` with
  `--memory` megabytes for rows;
- "score": the mean probability of every row, in blocks.

"held" is the largest anonymous memory (RssAnon) seen in a stage, every 50 ms; "before" is what
of it was there when the stage began, with the libraries and, where it is read, the model. Pages
of the memory map are the kernel's to drop, and are told apart: "resident" is the largest
resident set, with them. A stage that is done is not done again: results and rows stay in
`--parts`, which may be removed afterwards.
"""

import argparse
import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
from scipy.special import expit

BLOCK = 20_000
FEATURES, LAYER, LENGTH = 576, 14, 4
STAGES = "store", "draw", "score"


class Watch:
    """Seconds and memory of a stage."""

    def __enter__(self):
        self.first = self.most = anonymous()
        self.done = threading.Event()
        self.thread = threading.Thread(target=self.look)
        self.thread.start()
        self.wall, self.cpu = time.perf_counter(), time.process_time()
        return self

    def look(self):
        while not self.done.wait(0.05):
            self.most = max(self.most, anonymous())

    def __exit__(self, *_):
        self.wall, self.cpu = time.perf_counter() - self.wall, time.process_time() - self.cpu
        self.done.set()
        self.thread.join()

    def found(self):
        return {
            "seconds": self.wall,
            "cpu_seconds": self.cpu,
            "megabytes_before": self.first,
            "megabytes_held": max(self.most, anonymous()),
            "megabytes_resident": status("VmHWM"),
        }


def status(name):
    """An entry of this process's status, in megabytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) / 1e3
    raise ValueError(f"no {name} in /proc/self/status: this benchmark needs Linux")


def anonymous():
    return status("RssAnon")


def made_up(folder, n):
    """Make X (n, d) and y (n,) on disk, block by block."""
    rng = np.random.default_rng(0)
    shape = (n, FEATURES)
    X = np.lib.format.open_memmap(folder / "X.npy", "w+", np.float32, shape)
    scales = np.arange(1, FEATURES + 1, dtype=np.float32) ** -0.5
    weights = rng.standard_normal(FEATURES) * 3 / np.sqrt(FEATURES)
    y = np.empty(n)
    with Watch() as watch:
        for start in range(0, n, BLOCK):
            rows = min(BLOCK, n - start)
            part = rng.standard_normal((rows, FEATURES), dtype=np.float32) * scales
            X[start : start + rows] = part
            y[start : start + rows] = rng.random(rows) < expit(part @ weights)
        X.flush()
    np.save(folder / "y.npy", y)
    return watch.found() | {"n": n}


def texts_of(rng, count):
    """`count` different texts of statements about four cities, and which of them are true."""
    from elkutils.tasks import cities

    split = cities(0)["easy"]
    told = {}
    for text, city, true in zip(split.texts, split.groups, split.labels, strict=True):
        told.setdefault(city, {})[int(true)] = text
    names, found = sorted(city for city, each in told.items() if len(each) == 2), {}
    while len(found) < count:
        chosen, truth = rng.choice(names, LENGTH, replace=False), rng.integers(2, size=LENGTH)
        parts = [told[city][t] for city, t in zip(chosen, truth, strict=True)]
        ends = np.cumsum([len(part) + 1 for part in parts])
        found[" ".join(parts)] = ends, truth
    return found


def of_tokens(folder, n):
    """Store the activations of some n tokens, and save their labels."""
    from elkutils.models import load_model, resid_post, store_activations, token_spans

    model = load_model(device="cpu")
    rng = np.random.default_rng(0)
    few = list(texts_of(rng, 20))
    each = len(token_spans(model, few).row) / len(few)
    found = texts_of(rng, round(n / each))
    texts = list(found)
    [hook] = resid_post(model, [LAYER])
    with Watch() as watch:
        store_activations(folder / "X", model, texts, [hook], "all", block=128)
    spans = token_spans(model, texts)
    y = np.empty(len(spans.row))
    for i, (ends, truth) in enumerate(found.values()):
        own = spans.row == i
        y[own] = truth[np.searchsorted(ends, spans.stop[own] - 1, side="right")]
    np.save(folder / "y.npy", y)
    return watch.found() | {"n": len(y), "texts": len(texts)}


def opened(folder):
    path = folder / "X" / "0.npy" if (folder / "X").is_dir() else folder / "X.npy"
    return np.load(path, mmap_mode="r"), np.load(folder / "y.npy")


def draw(folder, memory, draws, chains):
    from elkutils.inference.diagnostics import diagnose
    from elkutils.inference.logistic import hmc
    from elkutils.inference.logistic.rows import Scaled

    X, y = opened(folder)
    with Watch() as watch:
        scaled = Scaled.of(X)
        prior = np.append(np.full(X.shape[1], X.shape[1] / 9), 0.0)
        options = {"memory": memory, "progress": True}
        found = hmc.sample(scaled, y, prior, draws, chains, 0, **options)
    np.save(folder / "theta.npy", scaled.unscaled(found.theta))
    worst = diagnose(found.theta).worst
    return watch.found() | {
        "parts": found.details["seconds"],
        "passes": found.details["fit"].passes,
        "steps": found.details["steps"],
        "ess": float(worst["ess"]),
        "rhat": float(worst["rhat"]),
        "megabytes_of_rows": X.nbytes / 1e6,
    }


def score(folder):
    from elkutils.evaluation import auroc
    from elkutils.inference.draws import NUMBERS, Draws, LinearHead
    from elkutils.reporters.base import row_blocks

    X, y = opened(folder)
    draws = Draws(LinearHead(X.shape[1]), np.load(folder / "theta.npy"))
    with Watch() as watch:
        blocks = row_blocks(X, NUMBERS, progress=True)
        proba = np.concatenate([draws.mean_proba(part) for _, part in blocks])
    return watch.found() | {"auroc": float(auroc(y, proba))}


def run(kind, n, stage, folder, args):
    if stage == "store":
        return {"made up": made_up, "tokens": of_tokens}[kind](folder, n)
    if stage == "draw":
        return draw(folder, args.memory * 10**6, args.draws, args.chains)
    return score(folder)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, nargs="*", default=[62_500, 250_000, 1_000_000])
    parser.add_argument("--tokens", type=int, nargs="*", default=[25_000, 100_000])
    parser.add_argument("--memory", type=int, default=64, help="megabytes for rows")
    parser.add_argument("--draws", type=int, default=24)
    parser.add_argument("--chains", type=int, default=32)
    parser.add_argument("--parts", type=Path, required=True, help="a folder with room for rows")
    parser.add_argument("--output", type=Path)
    parser.add_argument("--stage", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    runs = [("made up", n) for n in args.rows] + [("tokens", n) for n in args.tokens]
    if args.stage:
        kind, n, stage = args.stage
        folder = args.parts / f"{kind} {n}"
        folder.mkdir(parents=True, exist_ok=True)
        found = run(kind, int(n), stage, folder, args)
        (folder / f"{stage}.json").write_text(json.dumps(found, indent=1) + "\n")
        return
    records = []
    for kind, n in runs:
        record = {"kind": kind}
        for stage in STAGES:
            path = args.parts / f"{kind} {n}" / f"{stage}.json"
            if not path.exists():
                again = [
                    sys.executable,
                    __file__,
                    *sys.argv[1:],
                    "--stage",
                    kind,
                    str(n),
                    stage,
                ]
                subprocess.run(again, check=True)
            record[stage] = json.loads(path.read_text())
            held, before = (record[stage][f"megabytes_{k}"] for k in ("held", "before"))
            print(f"{kind} {n} {stage}: {held:.0f} MB, {held - before:.0f} of them its own")
        records.append(record)
    if args.output:
        from elkutils.study.timings import provenance

        about = provenance("python tests/benchmarks/streaming.py", "torch", "transformers")
        about |= {"memory": args.memory, "draws": args.draws, "chains": args.chains}
        about |= {"features": FEATURES, "layer": LAYER, "seed": 0, "rows": records}
        args.output.parent.mkdir(parents=True, exist_ok=True)
        args.output.write_text(json.dumps(about, indent=1) + "\n")


if __name__ == "__main__":
    main()
