"""C0: whether a reporter reads truth, where, and better than its rivals."""

from collections import defaultdict
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from elkutils import ledger, profiles
from elkutils.evaluation import Interval, auroc, bootstrap, difference
from elkutils.study import readings
from elkutils.study.core_claims.found import FOLDS, KINDS, Found
from elkutils.study.crossing import deal, less_the_mean, per_fold, rival_controls
from elkutils.study.pooling import interval, pooled
from elkutils.study.scaling import by_kind, z_scored

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

SHUFFLES = 4


def depth(model: "TransformerBridge") -> Found:
    """AUROC of the chapters' first reporter after each layer."""
    layers = range(0, model.cfg.n_layers, profiles.pick(quick=6, book=1, full=1))
    curves = {kind: [] for kind in KINDS}
    for layer in layers:
        for kind, value in reads_at(model, layer).items():
            curves[kind].append(value)
    return Found(shown={"layers": list(layers), **curves})


def reads_at(model: "TransformerBridge", layer: int) -> dict[str, Interval]:
    """Return the AUROC of a reporter taught by affirmative statements about big cities.

    It is that of the first chapter: logistic regression with τ = 1/√d on z-scored features.

    Returns
    -------
    dict of str to Interval
        On held-out big cities ("easy"), small ones ("hard") and held-out big ones, negated
        ("easy_negated").
    """
    parts = defaultdict(list)
    for seed in readings.seeds():
        sets = by_kind(model, "cities", seed, layer)
        reporter = _reporter(model).fit(*sets["train"][:2])
        for kind in KINDS:
            X, y, groups = sets[kind]
            parts[kind].append((seed, y, reporter.decision_function(X), groups))
    return {kind: interval(auroc, part) for kind, part in parts.items()}


def _reporter(model):
    from elkutils.reporters import LogisticMAP

    return LogisticMAP(model.cfg.d_model**-0.5)


MIXED = tuple(f"shuffled {i}" for i in range(SHUFFLES))
RIVALS = {"the own answer": "own answer", "the words": "TF-IDF", "PMI": "PMI"}
COLUMNS = ("reporter", "own answer", "TF-IDF", "log-probability", "PMI", *MIXED)


def rivals(model: "TransformerBridge") -> Found:
    """C0: a reporter at the middle layer, and what else might tell true from false."""
    found = [part for seed in readings.rival_seeds() for part in _contest(model, seed)]
    data = {kind: pooled(part for name, part in found if name == kind) for kind in KINDS}

    def compare(statistic, kind, *who):
        y, *scores, folds, groups, seeds = data[kind]
        asked = [scores[COLUMNS.index(name)] for name in who]
        return bootstrap(per_fold(statistic), y, *asked, folds, groups=groups, seeds=seeds)

    table = {f"{who}, {k}": compare(auroc, k, who) for who in COLUMNS[:5] for k in KINDS}
    conditions = {"negation: big cities": table["reporter, easy_negated"]}
    for kind, place in (("easy", "big cities"), ("hard", "small cities")):
        conditions[f"AUROC: {place}"] = table[f"reporter, {kind}"]
        for name, rival in RIVALS.items():
            less = compare(difference(auroc), kind, "reporter", rival)
            conditions[f"over {name}: {place}"] = less
        less = compare(less_the_mean, kind, "reporter", *MIXED)
        conditions[f"over shuffled labels: {place}"] = less
    both = {f"both kinds, {kind}": value for kind, value in _taught_both(model).items()}
    criteria = ledger.claims()["C0"].criteria
    controls = {"C0": rival_controls(criteria, data["easy"], SHUFFLES, places=2)}
    return Found({"C0": conditions}, controls, table | both)


def _contest(model, seed) -> Iterator[tuple[str, tuple]]:
    """Labels, scores, folds and cities of the rows held out in each fold, by kind."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    runs = TfidfVectorizer(ngram_range=(1, 3), token_pattern=r"\w+")
    words = make_pipeline(runs, LogisticRegression())
    reads, own = readings.read(model, "cities", seed), readings.rivals(model, seed)
    easy, middle = reads["easy"], model.cfg.n_layers // 2
    of, rng = deal(easy.groups, FOLDS, seed), np.random.default_rng(seed)
    for fold in range(FOLDS):
        train, test = of != fold, of == fold
        raw, y = easy.X[middle][train], easy.y[train]
        labels = {"reporter": y} | {name: rng.permutation(y) for name in MIXED}
        X = z_scored(raw)[0]
        fitted = {who: _reporter(model).fit(X, label) for who, label in labels.items()}
        words.fit(np.array(easy.split.texts)[train], y)
        for kind in KINDS if fold == 0 else ("easy", "easy_negated"):
            asked, rows = reads[kind], slice(None) if kind == "hard" else test
            new = z_scored(raw, asked.X[middle][rows])[1]
            scores = {who: probe.decision_function(new) for who, probe in fitted.items()}
            scores |= {who: score[rows] for who, score in own[kind].items()}
            scores["TF-IDF"] = words.decision_function(np.array(asked.split.texts)[rows])
            columns = [scores[who] for who in COLUMNS]
            held = np.full(len(new), fold)
            yield kind, (seed, asked.y[rows], *columns, held, asked.groups[rows])


def _taught_both(model) -> dict[str, Interval]:
    """AUROC of a reporter taught by affirmative and by negated statements."""
    parts, middle = defaultdict(list), model.cfg.n_layers // 2
    for seed in readings.seeds():
        read = readings.read(model, "cities", seed)
        train, test = read["easy"].split.train_test(seed=seed)
        taught = [read[kind] for kind in ("easy", "easy_negated")]
        raw = np.concatenate([part.X[middle][train] for part in taught])
        y = np.concatenate([part.y[train] for part in taught])
        reporter = _reporter(model).fit(z_scored(raw)[0], y)
        for kind in (*KINDS, "hard_negated"):
            rows = test if kind.startswith("easy") else slice(None)
            X, asked = z_scored(raw, read[kind].X[middle][rows])[1], read[kind]
            score = reporter.decision_function(X)
            parts[kind].append((seed, asked.y[rows], score, asked.groups[rows]))
    return {kind: interval(auroc, part) for kind, part in parts.items()}
