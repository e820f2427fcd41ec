"""The book's own machinery: what its chapters read, and how they look at it.

What is read: `readings` fixes which tasks, seeds and layers, so that each activation is
extracted once per build; `scaling` z-scores them, `shifts` has easy and hard cases as arrays,
`streams` rows in the order of a stream, `outside` inputs far from all of them, in `languages`
too, and `confusion` the vault's hidden cases.

How it is looked at: `probes` are the linear probes that are compared, `crossing` holds every
group out once, `pooling` puts the rows of several seeds together, `calibration` tests their
probabilities, `sampling` tests draws, and `controls` tests the rules themselves. `answers` is
what reporters answer on every shift and `triage` what is found with them; `promises` is what
forecasts along a stream promised, `temperatures` what learning one costs, and `averages` the
gain of an average over its MAP. `tiny_heads`, `lesions`, `learning_theory`, `amortised` and
`comparison` (of `comparison_methods` on `comparison_sets`) are recorded runs; `tuned_bags` are
its ensembles, `contexts` what acting by either costs, and `costs` a second recorded run, of the
CPU time that each takes; `members` has bags on one network and heads on several, and
`harm_bound` is what guardrails do on the vault.

Problems with known answers: `bags`, `boolean_functions`, `checks`, `descent`, `directions`,
`linear_ensembles`, `metropolis`, `no_free_lunch`, `rare_worlds`, `regions` and
`small_networks`. `timings` is how long things take.
"""

from elkutils.study.readings import (
    MAKERS,
    RIVAL_SPLITS,
    VAULT_PLACES,
    VAULT_STEP,
    PersonaReading,
    Reading,
    VaultReading,
    make_task,
    persona_seeds,
    read,
    read_persona,
    read_vault,
    rival_seeds,
    rivals,
    seeds,
    vault_seeds,
)

__all__ = [
    "MAKERS",
    "RIVAL_SPLITS",
    "VAULT_PLACES",
    "VAULT_STEP",
    "PersonaReading",
    "Reading",
    "VaultReading",
    "make_task",
    "persona_seeds",
    "read",
    "read_persona",
    "read_vault",
    "rival_seeds",
    "rivals",
    "seeds",
    "vault_seeds",
]
