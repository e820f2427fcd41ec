"""The model's own answers about a statement: its answer when asked, and its log-probabilities.

None of these needs a label, so every trained reporter has to be compared with them.
"""

import weakref
from collections.abc import Sequence
from contextlib import suppress

import numpy as np
import torch
from tqdm import tqdm
from transformer_lens.model_bridge import TransformerBridge

from elkutils.models.activations import Enough, batches, check_finite, looks_ahead, pad
from elkutils.models.cache import keep
from elkutils.models.state import check_evaluated, is_hooked, reading_key
from elkutils.models.tokens import bare_ids, check_batch_size, encode_all, text_list
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
        If the template has no ``{statement}``, both answers begin with the same token or with
        none, an answer does not follow a prompt as its own token, `texts` is empty or no list,
        a prompt is empty or longer than the model's context, the model attends to what is on
        the right, or a number is not finite.
    """
    texts = text_list("texts", texts)
    check_batch_size(batch_size)
    first = _first_tokens(model, answers)
    if not isinstance(template, str) or "{statement}" not in template:
        raise ValueError(f"template is {template!r}; it has to contain '{{statement}}'")
    prompts = text_list("texts", [template.replace("{statement}", text) for text in texts])
    sequences = _sequences(model, "texts", prompts)
    for word, token in zip(answers, first, strict=True):
        _check_answer(model, prompts, sequences, word, token)

    def compute() -> np.ndarray:
        reads = [[(len(ids) - 1, token) for token in first] for ids in sequences]
        rows = _log_probs(model, sequences, reads, batch_size, progress)
        odds = np.array([true - false for true, false in rows])
        check_finite("texts", odds, "answer", model)
        return odds

    options = {"tokens": sequences, "answers": first}
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
        If there are not as many completions as stems, one of them is no list or is empty, a
        completion adds no token or its first token merges with the stem's end, a stem has no
        token to condition on, a text is longer than the model's context, the model attends to
        what is on the right, or a number is not finite.
    """
    stems = text_list("stems", stems, empty=True)
    completions = text_list("completions", completions, empty=True)
    check_batch_size(batch_size)
    if len(stems) != len(completions):
        raise ValueError(f"there are {len(stems)} stems but {len(completions)} completions")
    pairs = list(zip(stems, completions, strict=True))
    distinct = list(dict.fromkeys(pairs))
    begins = _sequences(model, "stems", [stem for stem, _ in distinct])
    whole = _sequences(model, "completions", [stem + end for stem, end in distinct])
    row = {pair: i for i, pair in reversed(list(enumerate(pairs)))}  # the first of each
    starts = [
        _start(row[pair], pair, *ids)
        for pair, *ids in zip(distinct, begins, whole, strict=True)
    ]

    def compute() -> np.ndarray:
        reads = [
            [(place - 1, ids[place]) for place in range(start, len(ids))]
            for ids, start in zip(whole, starts, strict=True)
        ]
        rows = _log_probs(model, whole, reads, batch_size, progress)
        found = {pair: row.sum() for pair, row in zip(distinct, rows, strict=True)}
        totals = np.array([found[pair] for pair in pairs])
        check_finite("completions", totals, "log-probability", model)
        return totals

    back = {pair: i for i, pair in enumerate(distinct)}
    options = {"tokens": whole, "starts": starts, "rows": [back[pair] for pair in pairs]}
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


def _sequences(model, name, texts) -> list[list[int]]:
    """Return the token ids of texts that go on: without the end tokens a tokenizer may set."""
    rows = encode_all(model, name, texts)
    return [row.ids[: len(row.ids) - row.end] for row in rows]


def _first_tokens(model, answers) -> list[int]:
    words = text_list("answers", answers)
    if len(words) != 2:
        raise ValueError(f"answers is {answers!r}; it has to be two words, for true and false")
    first = [bare_ids(model.tokenizer, word)[0] for word in words]
    if first[0] == first[1]:
        raise ValueError(f"answers is {answers}; both begin with the same token")
    return first


def _check_answer(model, prompts, sequences, word, token) -> None:
    """Raise ValueError unless prompt and answer have the prompt's tokens, then the answer's."""
    joined = _sequences(model, "texts", [prompt + word for prompt in prompts])
    for row, (ids, both) in enumerate(zip(sequences, joined, strict=True)):
        if both[: len(ids) + 1] != [*ids, token]:
            raise ValueError(
                f"answers has {word!r}, whose first token merges with the end of the prompt in "
                f"row {row}, {prompts[row][-20:]!r}, or is another one there: end the template "
                "without a space and begin the answer with it, at the start of a word"
            )


def _start(row, pair, begin, ids) -> int:
    """Return where the completion's tokens begin, if they are its own."""
    stem, completion = pair
    if not begin:
        raise ValueError(
            f"stems has {stem!r} in row {row}, which has no token to condition on: give a "
            "stem, or set model.cfg.default_prepend_bos = True for a start token"
        )
    if ids[: len(begin)] != begin:
        raise ValueError(
            f"completions has {completion!r} in row {row}, which merges with the end of "
            f"{stem!r} (it adds no token of its own there): end the stem without a space and "
            "begin the completion with it, at the start of a word"
        )
    if len(ids) == len(begin):
        raise ValueError(
            f"completions has {completion!r} in row {row}, which adds no token to {stem!r}"
        )
    return len(begin)


def _kept(kind, model, options, cache, compute) -> np.ndarray:
    if not cache or is_hooked(model):
        return compute()
    options = reading_key(model) | options
    return keep(kind, options, lambda: {"values": compute()})["values"]


def _log_probs(model, sequences, reads, batch_size, progress) -> list[np.ndarray]:
    """Return for each sequence log P(token next) at each (place, token) to read."""
    check_evaluated(model)
    longest = max(sequences, key=len)
    if looks_ahead(model, longest, [_STATES]):
        raise ValueError(
            "model attends to what is on the right too, so it has no probability of the next "
            "token: take a causal model"
        )
    logits_at = _unembedded if _is_plain_head(model, longest) else _model_logits
    rows: list = [None] * len(sequences)
    bar = tqdm(total=len(sequences), unit="text", desc="answers", disable=not progress)
    with bar, torch.inference_mode():
        for batch in batches(sequences, batch_size, padded=True):
            wanted = [tuple(zip(*reads[i], strict=True)) for i in batch]
            found = logits_at(model, [sequences[i] for i in batch], [w[0] for w in wanted])
            for logits, (places, tokens), i in zip(found, wanted, batch, strict=True):
                logits = logits.double()
                chosen = logits[range(len(places)), list(tokens)]
                rows[i] = (chosen - logits.logsumexp(-1)).cpu().numpy()
            bar.update(len(batch))
    return rows


_STATES = "unembed.hook_in"  # what the unembedding reads (batch, token, d)


def _unembedded(model, sequences, places) -> list[torch.Tensor]:
    """Return the logits at places, ending the pass before the unembedding.

    Only these places are unembedded, those of all sequences at once: the vocabulary is the
    widest layer there is, and to read its weights takes longer than a product with them.
    """
    states = zip(_final_states(model, sequences), places, strict=True)
    wanted = torch.cat([state[list(at)] for state, at in states])
    return list(model.unembed(wanted).split([len(at) for at in places]))


def _model_logits(model, sequences, places) -> list[torch.Tensor]:
    """Return the logits at places, of a model that caps or scales what it unembeds."""
    ids = pad(sequences, next(model.original_model.parameters()).device)
    logits = model(ids, return_type="logits")
    return [row[list(at)] for row, at in zip(logits, places, strict=True)]


def _is_plain_head(model, ids) -> bool:
    """Return whether the model's logits are its unembedding's, neither capped nor scaled."""
    if model not in _plain_heads:
        probe = [list(ids[:16])], [range(len(ids[:16]))]
        with torch.inference_mode():
            (ours,), (theirs,) = _unembedded(model, *probe), _model_logits(model, *probe)
        near = max(1e-4, 2 * torch.finfo(theirs.dtype).eps)
        ours, theirs = ours.double(), theirs.double()
        _plain_heads[model] = bool((ours - theirs).abs().max() <= near * theirs.abs().max())
    return _plain_heads[model]


_plain_heads: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()


def _final_states(model, sequences) -> torch.Tensor:
    """Return what the unembedding would read (batch, token, d), ending the pass before it."""
    found = []

    def stop(tensor, hook):
        found.append(tensor)
        raise Enough

    ids = pad(sequences, next(model.original_model.parameters()).device)
    with suppress(Enough):
        model.run_with_hooks(ids, fwd_hooks=[(_STATES, stop)], return_type=None)
    return found[0]
