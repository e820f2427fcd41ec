"""The book's own machinery: what its chapters read, and how they look at it.

`readings` fixes which tasks, seeds and layers the chapters read, so that each activation is
extracted once per build; `scaling` z-scores them, `shifts` has easy and hard cases as arrays,
`probes` the linear probes that are compared on them, and `pooling` puts the rows of several
seeds together, on which `calibration` tests probabilities. `directions` has the theory of
directions in numbers, `checks` the data sets that theorems are checked on, and `timings` how
long things take. `answers` holds what reporters
answer on every shift, `streams` rows in the order of a stream, and `bags` reporters whose mean
is known. `linear_ensembles`, `metropolis` and `rare_worlds` are problems with known answers.
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
