"""C5d in short: plain ensembles of small networks, and prior draws, against HMC."""

from collections import defaultdict
from functools import partial
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from elkutils import ledger, profiles
from elkutils.study import readings, small_networks
from elkutils.study.controls import rates
from elkutils.study.controls import shared as once_per_run
from elkutils.study.core_claims.found import Found, Rates, at_depth
from elkutils.study.scaling import by_kind, principal

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

INPUTS, SCALES = 16, (0.75, 1.5, 3.0, 6.0)
IN_SHORT = small_networks.RECIPES[:1]  # plain gradient descent, at all its stops


def networks(model: "TransformerBridge") -> Found:
    """C5d in short: plain ensembles and prior draws under a loss, against HMC."""
    run = _Networks(model)
    bags = run.bags()
    found = {
        place: small_networks.compare(bag, run.target, run.sets) for place, bag in bags.items()
    }
    conditions = {
        f"{measure}, {kind}: {place}": each[kind][measure]
        for place, each in found.items()
        for measure in small_networks.MEASURES
        for kind in run.kinds
    }
    told = {"prior scale": run.scale, "worst R-hat": run.rhat, "least ESS": run.ess}
    return Found({"C5d": conditions}, {"C5d": run.controls(len(bags))}, told)


class _Networks:
    """HMC on small networks of one model's activations, and the bags it is compared with."""

    kinds = ("easy", "hard", "negated")

    def __init__(self, model):
        from elkutils.inference.diagnostics import diagnose
        from elkutils.inference.networks.mlp import MLP

        self.count, sizes = profiles.pick(
            quick=(32, (50, 50)), book=(128, (1600, 800)), full=(512, (2000, 1000))
        )
        self.long, self.short = sizes
        layer, self.sets = at_depth(14, model.cfg.n_layers), {}
        for seed in list(readings.seeds())[: profiles.pick(quick=2, book=3, full=10)]:
            sets = by_kind(model, "cities", seed, layer)
            sets["negated"] = sets.pop("easy_negated")
            sets = {kind: sets[kind] for kind in ("train", *self.kinds)}
            along = principal(INPUTS, *(X for X, _, _ in sets.values()))
            self.sets[seed] = {
                kind: (X, *rest)
                for X, (kind, (_, *rest)) in zip(along, sets.items(), strict=True)
            }
        self.scale = self._by_evidence()
        self.head = MLP((16,), weight_scale=self.scale)
        runs = {s: self.posterior(s, self.long, 5000 + s) for s in self.sets}
        drawn = {s: self.said(run, s) for s, run in runs.items()}
        self.again = {
            s: self.said(self.posterior(s, self.short, 6000 + s), s) for s in self.sets
        }
        self.target = {
            (s, kind): small_networks.Target.of(drawn[s][kind], self.again[s][kind], self.count)
            for s in self.sets
            for kind in self.kinds
        }
        rows = {s: np.concatenate([sets[k][0] for k in self.kinds]) for s, sets in self.items}
        worst = [diagnose(runs[s].log_odds(rows[s])).worst for s in self.sets]
        self.rhat = float(max(each["rhat"] for each in worst))
        self.ess = float(min(each["ess"] for each in worst))

    @property
    def items(self):
        return self.sets.items()

    def _by_evidence(self) -> float:
        from elkutils.inference.networks import tempered
        from elkutils.inference.networks.mlp import MLP

        few = list(self.sets)[: profiles.pick(quick=1, book=1, full=10)]
        found = dict.fromkeys(SCALES, 0.0)
        for scale, s in product(SCALES, few):
            head, rows = MLP((16,), weight_scale=scale), self.sets[s]["train"][:2]
            run = tempered.sample(head, *rows, 48, most_moves=10, seed=s)
            found[scale] += run.details["log_evidence"]
        return max(found, key=found.get)

    def posterior(self, s, draws, seed, head=None):
        from elkutils.inference.networks import hmc

        X, y, _ = self.sets[s]["train"]
        return hmc.sample(head or self.head, X, y, draws, 400, 4, seed=seed)

    def said(self, draws, s):
        return small_networks.said(draws, self.sets[s], self.kinds)

    def bags(self) -> dict[str, dict]:
        """Log odds of each bag, by place and seed."""
        from elkutils.inference.networks import threshold

        steps, bags = profiles.pick(quick=60, book=1000, full=5000), defaultdict(dict)
        for recipe, s in product(IN_SHORT, self.sets):
            rows = self.sets[s]["train"]
            made = small_networks.members(recipe, self.head, rows, self.count, 9000 + s, steps)
            for stop, draws in made.items():
                place = f"{recipe.name} · {recipe.optimiser} · {stop}"
                bags[place][s] = self.said(draws, s)
        losses = small_networks.LOSSES
        options = {"share": 0.3, "most_moves": 6, "last_moves": 30}
        for s, sets in self.items:
            kept = threshold.descend_each(
                self.head, *sets["train"][:2], losses, self.count, seed=s, **options
            )
            for loss, draws in zip(losses, kept, strict=True):
                bags[f"prior draws · {small_networks.at_loss(loss)}"][s] = self.said(draws, s)
        return dict(bags)

    def controls(self, places: int) -> dict[str, Rates]:
        """A second run of HMC should pass; an untrained bag, a point and a wide prior not."""
        wrong = dict(zip(small_networks.MEASURES, self._wrong(), strict=True))
        found, criteria = {}, ledger.claims()["C5d"].criteria
        for kind in self.kinds:
            good = self._resampled(self.again, kind)
            for measure, pools in wrong.items():
                name = f"{measure}, {kind}"
                pair = good(measure), self._resampled(pools, kind)(measure)
                found[name] = rates(criteria[name], *pair, places)
        return found

    def _wrong(self) -> tuple[dict, dict, dict]:
        from elkutils.inference.draws import Draws
        from elkutils.inference.networks.mlp import MLP
        from elkutils.inference.networks.network import draw_prior, flat
        from elkutils.reporters import LogisticMAP

        untrained, point, wide = {}, {}, {}
        shape, wider = flat(self.head, INPUTS), MLP((16,), weight_scale=2 * self.scale)
        for s, sets in self.items:
            start = draw_prior(self.head, 4 * self.count, INPUTS, seed=7000 + s)
            start = Draws(shape, np.asarray(shape.flatten(start))[None])
            untrained[s] = self.said(start, s)
            fit = LogisticMAP("evidence").fit(*sets["train"][:2])
            point[s] = {
                kind: np.tile(fit.decision_function(sets[kind][0]), (self.count, 1))
                for kind in self.kinds
            }
            wide[s] = self.said(self.posterior(s, self.short // 2, 8000 + s, wider), s)
        return untrained, point, wide

    def _resampled(self, pools, kind):
        each = {s: pools[s][kind] for s in self.sets}
        targets = {s: self.target[s, kind] for s in self.sets}
        groups = {s: sets[kind][2] for s, sets in self.items}
        return once_per_run(
            partial(small_networks.resampled, each, targets, groups, self.count)
        )
