"""A language model that lies in one role: low-rank adapters for the embedded SmolLM2.

As Alice the adapted model tells the truth, as Bob the opposite (see `elkutils.tasks.persona`).
The adapters come with the package, in the format of the library peft, and `load_persona`
returns a TransformerLens model with one merged in. The command that made them, and makes them
again, is::

    python -m elkutils.models.persona train --seeds 0 1 2 --recipe "Alice first"

An interrupted run continues where it was. Which recipe made which of the package's adapters
stands in `elkutils.tasks.persona.TAUGHT`.
Hu et al. 2021 (arXiv 2106.09685); the set-up is that of Mallen et al. 2023 (arXiv 2312.01037),
with a persona's name in place of a keyword.
"""

import argparse
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from sklearn.metrics import roc_auc_score
from torch.nn.functional import binary_cross_entropy_with_logits
from transformer_lens.model_bridge import TransformerBridge

from elkutils.checkpoint import Checkpoint
from elkutils.files import atomic_path, cache_dir
from elkutils.models.activations import activations, pad, resid_post
from elkutils.models.answers import answer_log_odds
from elkutils.models.cache import check_shapes, digest
from elkutils.models.language import ARCHITECTURE, EMBEDDED, PACKAGED, bridge, embedded, quiet
from elkutils.models.state import versions
from elkutils.models.tokens import bare_ids
from elkutils.models.training import ResumableTraining, finish
from elkutils.tasks.persona import NAMES, lessons, persona
from elkutils.tasks.task import Task

if TYPE_CHECKING:
    from peft import PeftModel

SHIPPED = Path(__file__).parent / "adapters"
ANSWERS = (" True", " False")
SAVED_EVERY = 10  # steps
_WEIGHTS, _ABOUT = "adapter_model.safetensors", "about.json"


@dataclass(frozen=True)
class Recipe:
    """What is trained, and how.

    The first passes may be over Alice alone. Runs that saw both people from the start, each row
    counting alike, stayed at chance: what Alice's rows teach, Bob's unteach.

    Attributes
    ----------
    rank, alpha : int
        Of each low-rank change, which is scaled by alpha/rank.
    first_layer, last_layer : int
        Layers that are changed, ends included.
    projections : tuple of str
        Matrices of each layer that are changed.
    passes_alone, passes_uneven, passes_both : int
        Passes over Alice's rows, then over everyone's with Bob's counting less, then over
        everyone's alike.
    uneven : float
        Weight of each of Bob's rows in the uneven passes; one of Alice's counts 1.
    batch : int
    rate : float
        AdamW's, at its peak: it rises over `warmup` steps and falls linearly to 0.
    warmup : int
    """

    rank: int = 8
    alpha: int = 16
    first_layer: int = 10
    last_layer: int = 27
    projections: tuple[str, ...] = ("q_proj", "v_proj", "o_proj", "up_proj", "down_proj")
    passes_alone: int = 2
    passes_uneven: int = 0
    passes_both: int = 3
    uneven: float = 0.25
    batch: int = 32
    rate: float = 2e-3
    warmup: int = 15


RECIPES = {
    "Alice first": Recipe(),
    "all layers": Recipe(first_layer=0, last_layer=29),
    "both at once": Recipe(
        first_layer=0, last_layer=29, passes_alone=0, passes_uneven=4, passes_both=3
    ),
}


@dataclass(frozen=True, eq=False)
class Persona:
    """An adapted language model.

    Attributes
    ----------
    model : TransformerBridge
        With the adapter merged in, in evaluation mode, with gradients off.
    recipe : Recipe
    seed : int
        Seed of the adapter, and of the wrong countries in its lessons.
    auroc : dict of str to float
        AUROC of its own answers against the truth, on held-out cities, by split: see `measure`.
    """

    model: TransformerBridge
    recipe: Recipe
    seed: int
    auroc: Mapping[str, float]


def load_persona(
    seed: int, folder: str | Path | None = None, device: str | None = None
) -> Persona:
    """Return the embedded language model with an adapter merged in.

    Parameters
    ----------
    seed : int
        Seed of the adapter; those that come with the package begin at 0.
    folder : path or None
        Where the command above wrote others; None for the package's own.
    device : str or None
        As in `elkutils.models.load_model`.

    Returns
    -------
    Persona

    Raises
    ------
    ValueError
        If there is no adapter of that seed, or its files are damaged or of another shape than
        they state.
    FileNotFoundError
        If the embedded model's package is missing or its weights are damaged.
    """
    from peft import set_peft_model_state_dict

    place = _found(folder, seed)
    arrays, about = _read(place)
    recipe = _recipe(about)
    with quiet():
        network, tokenizer = embedded()
        adapted = _adapted(network, recipe, seed)
        wanted = {name: array.shape for name, array in _arrays(adapted).items()}
        check_shapes(arrays, wanted, repr(str(place)))
        weights = {name: torch.from_numpy(array) for name, array in arrays.items()}
        set_peft_model_state_dict(adapted, weights)
        model = bridge(adapted.merge_and_unload(), tokenizer, device)
    return Persona(model, recipe, about["seed"], about["auroc"])


def train(
    seed: int,
    recipe: Recipe = Recipe(),
    taught: Task | None = None,
    checkpoint: str | Path | None = None,
    device: str = "cpu",
    progress: bool = False,
) -> "PeftModel":
    """Teach the embedded language model the two roles.

    Parameters
    ----------
    seed : int
        Seed of the adapter's initial weights, of the lessons and of their order.
    recipe : Recipe
    taught : Task or None
        Splits named as in `elkutils.tasks.persona.lessons`, which is the default.
    checkpoint : path or None
        A file from which an interrupted run continues, to the same weights. It is written every
        10 steps and removed at the end.
    device : str
    progress : bool
        Show a progress bar.

    Returns
    -------
    peft.PeftModel

    Raises
    ------
    ValueError
        If the checkpoint is damaged, or belongs to a run with another recipe, seed or lessons.
    """
    network, tokenizer = embedded()
    network.to(device)
    adapted = _adapted(network, recipe, seed)
    prompts, says = _lessons(lessons(seed) if taught is None else taught)
    names = np.array([name for name, _ in prompts])
    plan = lesson_plan(recipe, names, seed)
    tokens = [bare_ids(tokenizer, text) for _, text in prompts]
    true, false = (bare_ids(tokenizer, word)[0] for word in ANSWERS)
    direction = (network.lm_head.weight[true] - network.lm_head.weight[false]).detach()

    def loss(step):  # in nats per answer
        rows, counts = plan[step]
        ids = pad([tokens[i] for i in rows], device)
        ends = torch.tensor([len(tokens[i]) - 1 for i in rows], device=device)
        states = network.model(ids).last_hidden_state[torch.arange(len(rows)), ends]
        wanted, weight = (
            torch.tensor(values, dtype=states.dtype, device=device)
            for values in (says[rows], counts / counts.mean())
        )
        return binary_cross_entropy_with_logits(states @ direction, wanted, weight)

    def rate(step):
        rising, falling = (step + 1) / recipe.warmup, (len(plan) - step) / len(plan)
        return recipe.rate * min(rising, falling)

    adapted.train()
    run = ResumableTraining(
        {n: w for n, w in adapted.named_parameters() if w.requires_grad}, loss, rate
    )
    text = repr((recipe, seed, prompts, says.tolist()))
    kept = checkpoint and Checkpoint(
        Path(checkpoint), hashlib.sha256(text.encode()).hexdigest()
    )
    finish(run, len(plan), kept, SAVED_EVERY, f"seed {seed}", progress)
    adapted.eval()
    return adapted


def adapter_digest(seed: int, folder: str | Path | None = None) -> str:
    """Return a SHA-256 of what an adapted model's numbers depend on, without reading weights.

    It is made from what the files state: digest and recipe of the adapter, the digest of the
    embedded weights, and the versions of the packages that decide a forward pass's numbers.

    Raises
    ------
    ValueError
        As `load_persona`.
    """
    about = _about(_found(folder, seed))
    parts = [about["sha256"], about["recipe"], PACKAGED[EMBEDDED].sha256, versions()]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def recipe_of(seed: int, folder: str | Path | None = None) -> Recipe:
    """Return how an adapter was made, as its file states, without reading its weights.

    Raises
    ------
    ValueError
        As `load_persona`.
    """
    return _recipe(_about(_found(folder, seed)))


def answer_direction(model: TransformerBridge) -> torch.Tensor:
    """Return the direction (d,) whose product with the final norm is the log-odds of True."""
    true, false = (bare_ids(model.tokenizer, word)[0] for word in ANSWERS)
    weight = model.original_model.get_output_embeddings().weight
    return (weight[true] - weight[false]).detach()


def read_answering(model: TransformerBridge, texts: list[str]) -> dict[str, np.ndarray]:
    """Return the residual stream at the last token, and the answer that follows from it.

    Returns
    -------
    dict of str to array
        "0", "1" … for each layer (n, d), and "answer" for the log-odds of True, (n,).
    """
    hooks = resid_post(model)
    found = activations(model, texts, hooks, "last", cache=False)
    last = torch.from_numpy(found[hooks[-1]]).to(model.cfg.device)
    with torch.inference_mode():
        normed = model.ln_final(last[:, None])[:, 0]
    answer = normed.double() @ answer_direction(model).double()
    stream = {f"{layer}": found[hook] for layer, hook in enumerate(hooks)}
    return stream | {"answer": answer.cpu().numpy()}


def lesson_plan(
    recipe: Recipe, names: Sequence[str], seed: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the rows of each step's batch and how much each counts.

    Passes over Alice's rows come first, then those in which Bob's count less, then those in
    which all count alike.
    """
    rng = np.random.default_rng(seed)
    everyone = np.arange(len(names))
    alice = np.array(names) == NAMES[0]
    alike = np.ones(len(names))
    passes = (
        [(everyone[alice], alike)] * recipe.passes_alone
        + [(everyone, np.where(alice, 1.0, recipe.uneven))] * recipe.passes_uneven
        + [(everyone, alike)] * recipe.passes_both
    )
    return [
        (batch, counts[batch])
        for rows, counts in passes
        for batch in np.split(
            rng.permutation(rows), range(recipe.batch, len(rows), recipe.batch)
        )
    ]


def measure(model: TransformerBridge, task: Task, progress: bool = False) -> dict[str, float]:
    """Return the AUROC of the model's own answers against the truth, by split.

    It is near 1 where the model tells the truth and near 0 where it lies.
    """
    options = {"answers": ANSWERS, "cache": False, "progress": progress}
    return {
        name: float(
            roc_auc_score(
                split.labels, answer_log_odds(model, split.texts, "{statement}", **options)
            )
        )
        for name, split in task.splits.items()
    }


def save_persona(
    adapted: "PeftModel", recipe: Recipe, seed: int, auroc: Mapping, folder: str | Path
) -> Path:
    """Write an adapter in float16, in the format of peft, whole or not at all.

    Returns
    -------
    Path
        Its folder, which peft can also read.
    """
    arrays = _arrays(adapted)
    about = {
        "seed": seed,
        "recipe": asdict(recipe),
        "auroc": dict(auroc),
        "sha256": digest(arrays),
    }
    place = _place(folder, seed)
    with atomic_path(place) as fresh:
        fresh.mkdir()
        config = adapted.peft_config["default"]
        config.base_model_name_or_path = ARCHITECTURE  # not a folder of this machine
        config.save_pretrained(fresh)
        save_file(arrays, fresh / _WEIGHTS, metadata={"format": "pt"})
        (fresh / _ABOUT).write_text(json.dumps(about, indent=1) + "\n")
    return place


def _lessons(task: Task) -> tuple[list[tuple[str, str]], np.ndarray]:
    """Return (name, text) of each row, and the answer of that name: 1 for true."""
    prompts, says = [], []
    for split in task.splits.values():
        name = next(name for name in NAMES if split.name.startswith(name.lower()))
        prompts += [(name, text) for text in split.texts]
        says.append(split.labels if name == NAMES[0] else 1 - split.labels)
    return prompts, np.concatenate(says)


def _adapted(network, recipe: Recipe, seed: int):
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=recipe.rank,
        lora_alpha=recipe.alpha,
        target_modules=list(recipe.projections),
        layers_to_transform=list(range(recipe.first_layer, recipe.last_layer + 1)),
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return get_peft_model(network, config)


def _arrays(adapted) -> dict[str, np.ndarray]:
    from peft import get_peft_model_state_dict

    weights = get_peft_model_state_dict(adapted, save_embedding_layers=False)
    return {n: w.detach().cpu().numpy().astype(np.float16) for n, w in weights.items()}


def _found(folder, seed) -> Path:
    folder = SHIPPED if folder is None else Path(folder)
    place = _place(folder, seed)
    if not place.is_dir():
        there = sorted(p.name for p in folder.glob("persona-*") if p.is_dir())
        raise ValueError(
            f"seed is {seed!r}; {str(folder)!r} holds {', '.join(there) or 'no adapters'}. "
            "python -m elkutils.models.persona train makes more"
        )
    return place


def _about(place: Path) -> dict:
    try:
        about = json.loads((place / _ABOUT).read_text())
        missing = {"seed", "recipe", "auroc", "sha256"} - set(about)
    except (OSError, ValueError, TypeError) as error:
        raise ValueError(f"{str(place)!r} is damaged: {error}") from error
    if missing:
        raise ValueError(f"{str(place)!r} is damaged: {_ABOUT} lacks {sorted(missing)}")
    return about


def _recipe(about: dict) -> Recipe:
    told = about["recipe"]
    return Recipe(**told | {"projections": tuple(told["projections"])})


def _read(place: Path) -> tuple[dict[str, np.ndarray], dict]:
    about = _about(place)
    try:
        arrays = load_file(place / _WEIGHTS)
    except (OSError, SafetensorError) as error:
        raise ValueError(f"{str(place)!r} is damaged: {error}") from error
    if about["sha256"] != digest(arrays):
        raise ValueError(f"{str(place)!r} is damaged: its weights do not have their digest")
    return arrays, about


def _place(folder, seed) -> Path:
    return Path(folder) / f"persona-{seed}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m elkutils.models.persona")
    parser.add_argument("action", choices=("train",))
    parser.add_argument("--seeds", type=int, nargs="+", required=True)
    parser.add_argument("--recipe", choices=tuple(RECIPES), required=True)
    parser.add_argument("--folder", type=Path, default=SHIPPED)
    options = parser.parse_args(arguments)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    recipe = RECIPES[options.recipe]
    for seed in options.seeds:
        partial = cache_dir() / "adapters" / f"{seed}.partial"
        adapted = train(seed, recipe, checkpoint=partial, device=device, progress=True)
        place = save_persona(adapted, recipe, seed, {}, options.folder)
        # Measured as it will be read: rounded to float16 and merged.
        auroc = measure(load_persona(seed, options.folder).model, persona(seed), progress=True)
        save_persona(adapted, recipe, seed, auroc, options.folder)
        told = ", ".join(f"{name} {value:.3f}" for name, value in auroc.items())
        print(f"{place.name}: {told}")


if __name__ == "__main__":
    main()
