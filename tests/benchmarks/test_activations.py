"""Reading activations against transformers and TransformerLens, in CPU time.

Each reads the same layers of the same statements, in batches of 32: ours as a user calls it,
transformers with ``output_hidden_states=True`` on padded batches, and TransformerLens'
``run_with_cache`` with its defaults. All keep the row of the last token only. Half of the
statements differ from another one in their last words only; ours runs what they share once.
"""

import numpy as np
import pytest
import torch
from timing import alternating_medians

from elkutils.models import activations, load_model, resid_post
from elkutils.models.language import encode
from elkutils.tasks import cities

BATCH = 32


@pytest.fixture(scope="module")
def model():
    return load_model(device="cpu")


@pytest.fixture(scope="module")
def network():
    from transformers import AutoModelForCausalLM

    from elkutils.models.language import embedded_folder

    return AutoModelForCausalLM.from_pretrained(embedded_folder(), dtype=torch.float32)


def batches(model, texts):
    """Yield right-padded ids, their mask and the index of each text's last token."""
    for start in range(0, len(texts), BATCH):
        ids = [encode(model, text)["input_ids"] for text in texts[start : start + BATCH]]
        tokens = model.tokenizer.pad(
            {"input_ids": ids}, return_tensors="pt", padding_side="right"
        )
        yield tokens["input_ids"], tokens["attention_mask"], [len(row) - 1 for row in ids]


def by_transformers(model, network, texts, layers):
    rows = {layer: [] for layer in layers}
    with torch.inference_mode():
        for ids, mask, last in batches(model, texts):
            states = network(ids, attention_mask=mask, output_hidden_states=True).hidden_states
            for layer in layers:
                rows[layer].append(states[layer + 1][range(len(last)), last].numpy())
    return {layer: np.concatenate(parts) for layer, parts in rows.items()}


def by_run_with_cache(model, texts, layers):
    rows = {layer: [] for layer in layers}
    with torch.inference_mode():
        for ids, _, last in batches(model, texts):
            _, cache = model.run_with_cache(ids)
            for layer in layers:
                kept = cache[f"blocks.{layer}.hook_resid_post"]
                rows[layer].append(kept[range(len(last)), last].numpy())
    return {layer: np.concatenate(parts) for layer, parts in rows.items()}


@pytest.mark.parametrize(
    "layers",
    [range(29), range(15), [0, 28]],
    ids=["layers 0-28", "layers 0-14", "layers 0 and 28"],
)
def test_extraction_keeps_up(model, network, layers, capsys):
    texts = [t for split in cities(0).splits.values() for t in split.texts[:32]]
    hooks = resid_post(model, layers)
    tasks = {
        "elkutils": lambda: activations(model, texts, hooks, cache=False, progress=False),
        "transformers": lambda: by_transformers(model, network, texts, layers),
        "run_with_cache": lambda: by_run_with_cache(model, texts, layers),
    }
    ours, theirs = tasks["elkutils"](), tasks["transformers"]()
    for hook, layer in zip(hooks, layers, strict=True):
        atol = 1e-4 * np.abs(theirs[layer]).max()
        np.testing.assert_allclose(ours[hook], theirs[layer], atol=atol)
    seconds = alternating_medians(*tasks.values(), rounds=5)
    with capsys.disabled():
        print(f"\n{len(texts)} statements, {len(layers)} layers: elkutils {seconds[0]:.2f} s")
        for name, taken in zip(list(tasks)[1:], seconds[1:], strict=True):
            print(f"  {name:16s} {taken / seconds[0]:.2f} × as long")
    assert seconds[0] <= seconds[1], "slower than transformers"
    assert 2 * seconds[0] <= seconds[2], "less than twice as fast as run_with_cache"
