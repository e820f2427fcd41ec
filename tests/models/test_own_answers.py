"""What the model says: probabilities that add up, and conditional ones that chain."""

from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from elkutils.models import answer_log_odds, completion_log_prob, pmi
from elkutils.models.language import encode
from elkutils.tasks import cities, elements

QUIET = {"progress": False, "cache": False}


def test_a_completion_scores_the_product_of_its_tokens(model):
    stem, completion = "The city of Lyon is in", " Burkina Faso."
    ids = encode(model, stem + completion)["input_ids"]
    start = len(encode(model, stem)["input_ids"])
    with torch.inference_mode():
        log_probs = model(torch.tensor([ids]))[0].double().log_softmax(-1)
    expected = sum(float(log_probs[i - 1, ids[i]]) for i in range(start, len(ids)))
    found = completion_log_prob(model, [stem] * 2, [completion, " France."], **QUIET)
    assert found[0] == pytest.approx(expected, abs=1e-3)
    assert found[1] > found[0]


def test_batches_change_nothing(model):
    texts = cities(0)["easy"].texts[:8]
    one = answer_log_odds(model, texts, batch_size=1, **QUIET)
    all_ = answer_log_odds(model, texts, batch_size=8, **QUIET)
    np.testing.assert_allclose(one, all_, atol=1e-3)


def test_swapped_answers_change_the_sign(model):
    texts = ["The city of Lyon is in France."]
    there = answer_log_odds(model, texts, answers=(" True", " False"), **QUIET)
    back = answer_log_odds(model, texts, answers=(" False", " True"), **QUIET)
    np.testing.assert_allclose(there, -back)


def test_pmi_is_the_gain_over_the_neutral_stem(model):
    whole = elements(0)["easy"]
    rows = {f.name: getattr(whole, f.name)[:6] for f in fields(whole) if f.name != "name"}
    split = replace(whole, **rows)
    gain = completion_log_prob(model, split.stems, split.completions, **QUIET)
    gain -= completion_log_prob(model, split.neutral, split.completions, **QUIET)
    np.testing.assert_allclose(pmi(model, split, **QUIET), gain)


def test_bad_input_says_what_is_wrong(model):
    with pytest.raises(ValueError, match="template"):
        answer_log_odds(model, ["A."], template="True or false?", **QUIET)
    with pytest.raises(ValueError, match="same token"):
        answer_log_odds(model, ["A."], answers=(" True", " True"), **QUIET)
    with pytest.raises(ValueError, match="1 stems but 2 completions"):
        completion_log_prob(model, ["A"], [" b", " c"], **QUIET)
    with pytest.raises(ValueError, match="adds no token"):
        completion_log_prob(model, ["A"], [""], **QUIET)


def test_the_cache_gives_the_same_numbers_without_running_the_model(
    model, own_cache, monkeypatch
):
    stems, completions = ["The city of Lyon is in"] * 2, [" France.", " Japan."]
    texts = [stem + end for stem, end in zip(stems, completions, strict=True)]
    first = completion_log_prob(model, stems, completions), answer_log_odds(model, texts)
    monkeypatch.setattr("elkutils.models.answers._log_probs", None)
    again = completion_log_prob(model, stems, completions), answer_log_odds(model, texts)
    np.testing.assert_array_equal(first, again)
