"""The book's own machinery: what its chapters read, and how they look at it.

`readings` says once which tasks, seeds and layers the chapters read, so that each activation is
extracted once per build; `shifts` has easy and hard cases as arrays, `directions` the theory of
directions in numbers, and `timings` the recorded benchmarks.
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
