"""The model's own answers about a statement: its answer when asked, and its log-probabilities.

None of these needs a label, so every trained reporter has to be compared with them.
"""

from collections.abc import Sequence
from contextlib import suppress

import numpy as np
import torch
from tqdm import tqdm
from transformer_lens.model_bridge import TransformerBridge

from elkutils.models.activations import Enough, pad
from elkutils.models.cache import keep
from elkutils.models.language import bare_ids, encode, model_digest
from elkutils.tasks.task import Split

QUESTION = "{statement} True or false? Answer:"


def answer_log_odds(
    model: TransformerBridge,
    texts: Sequence[str],
    template: str = QUESTION,
    answers: tuple[str, str] = (" True", " False"),
    batch_size: int = 32,
    cache: bool = True,
    progress: bool = True,
) -> np.ndarray:
    """Return log P(true) − log P(false) of the model's next token after a question.

    Parameters
    ----------
    model : TransformerBridge
        As returned by `elkutils.models.load_model`.
    texts : sequence of n str
        Statements.
    template : str
        The prompt, with ``{statement}`` in the place of the statement.
    answers : (str, str)
        The words that mean true and false; the first token of each is read.
    batch_size, cache, progress
        As in `elkutils.models.activations`.

    Returns
    -------
    (n,) array
        In nats.

    Raises
    ------
    ValueError
        If the template has no ``{statement}`` or both answers begin with the same token.
    """
    if "{statement}" not in template:
        raise ValueError(f"template is {template!r}; it has to contain '{{statement}}'")
    first = [bare_ids(model.tokenizer, word)[0] for word in answers]
    if first[0] == first[1]:
        raise ValueError(f"answers is {answers}; both begin with the same token")
    prompts = [template.replace("{statement}", text) for text in texts]

    def compute() -> np.ndarray:
        sequences = [_ids(model, prompt) for prompt in prompts]
        reads = [[(len(ids) - 1, token) for token in first] for ids in sequences]
        rows = _log_probs(model, sequences, reads, batch_size, progress)
        return np.array([true - false for true, false in rows])

    options = {"prompts": prompts, "answers": list(answers)}
    return _kept("answers", model, options, cache, compute)


def completion_log_prob(
    model: TransformerBridge,
    stems: Sequence[str],
    completions: Sequence[str],
    batch_size: int = 32,
    cache: bool = True,
    progress: bool = True,
) -> np.ndarray:
    """Return log P(completion | stem), summed over the completion's tokens.

    Parameters
    ----------
    model : TransformerBridge
        As returned by `elkutils.models.load_model`.
    stems : sequence of n str
    completions : sequence of n str
        Each begins with its own space.
    batch_size, cache, progress
        As in `elkutils.models.activations`.

    Returns
    -------
    (n,) array
        In nats.

    Raises
    ------
    ValueError
        If there are not as many completions as stems, or a completion adds no token.
    """
    if len(stems) != len(completions):
        raise ValueError(f"there are {len(stems)} stems but {len(completions)} completions")
    pairs = list(zip(stems, completions, strict=True))

    def compute() -> np.ndarray:
        distinct = list(dict.fromkeys(pairs))
        sequences, reads = zip(*(_completion(model, *pair) for pair in distinct), strict=True)
        rows = _log_probs(model, sequences, reads, batch_size, progress)
        found = {pair: row.sum() for pair, row in zip(distinct, rows, strict=True)}
        return np.array([found[pair] for pair in pairs])

    options = {"pairs": [list(pair) for pair in pairs]}
    return _kept("completions", model, options, cache, compute)


def pmi(
    model: TransformerBridge,
    split: Split,
    batch_size: int = 32,
    cache: bool = True,
    progress: bool = True,
) -> np.ndarray:
    """Return the pointwise mutual information of each statement's subject and completion.

    It is log P(completion | stem) − log P(completion | neutral stem): how much more likely
    the subject makes the completion. It needs no labels.

    Parameters
    ----------
    model : TransformerBridge
        As returned by `elkutils.models.load_model`.
    split : elkutils.tasks.Split
        With ``stems``, ``completions`` and ``neutral``.
    batch_size, cache, progress
        As in `elkutils.models.activations`.

    Returns
    -------
    (n,) array
        In nats.

    Raises
    ------
    ValueError
        If the split has no stems.
    """
    if split.stems is None or split.neutral is None:
        raise ValueError(f"the split {split.name!r} has no stems and neutral stems to compare")
    options = {"batch_size": batch_size, "cache": cache, "progress": progress}
    given = completion_log_prob(model, split.stems, split.completions, **options)
    return given - completion_log_prob(model, split.neutral, split.completions, **options)


def _ids(model, text: str) -> list[int]:
    return encode(model, text)["input_ids"]


def _completion(model, stem, completion) -> tuple[list[int], list[tuple[int, int]]]:
    start, ids = len(_ids(model, stem)), _ids(model, stem + completion)
    if len(ids) <= start:
        raise ValueError(f"completions has {completion!r}, which adds no token to {stem!r}")
    return ids, [(place - 1, ids[place]) for place in range(start, len(ids))]


def _kept(kind, model, options, cache, compute) -> np.ndarray:
    if not cache:
        return compute()
    options = {"model": model_digest(model), "dtype": str(model.cfg.dtype), **options}
    return keep(kind, options, lambda: {"values": compute()})["values"]


def _log_probs(model, sequences, reads, batch_size, progress) -> list[np.ndarray]:
    """Return for each sequence log P(token next) at each (place, token) to read."""
    order = np.argsort([len(ids) for ids in sequences], kind="stable")
    rows: list = [None] * len(sequences)
    bar = tqdm(total=len(sequences), unit="text", desc="answers", disable=not progress)
    with bar, torch.inference_mode():
        for start in range(0, len(order), batch_size):
            batch = order[start : start + batch_size]
            states = _final_states(model, [sequences[i] for i in batch])
            for state, i in zip(states, batch, strict=True):
                places, tokens = zip(*reads[i], strict=True)
                # Only these places are unembedded: the vocabulary is the widest layer there is.
                logits = model.unembed(state[list(places)]).double()
                log_probs = logits.log_softmax(-1)[range(len(places)), list(tokens)]
                rows[i] = log_probs.cpu().numpy()
            bar.update(len(batch))
    return rows


def _final_states(model, sequences) -> torch.Tensor:
    """Return what the unembedding would read (batch, token, d), ending the pass before it."""
    found = []

    def stop(tensor, hook):
        found.append(tensor)
        raise Enough

    ids = pad(sequences, next(model.original_model.parameters()).device)
    with suppress(Enough):
        model.run_with_hooks(ids, fwd_hooks=[("unembed.hook_in", stop)], return_type=None)
    return found[0]
