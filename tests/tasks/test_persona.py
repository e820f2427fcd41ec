"""Alice and Bob are asked the same, and nobody is asked what an adapter was taught."""

import numpy as np
import pytest

from elkutils.tasks import cities
from elkutils.tasks.persona import HELD_OUT, lessons, persona


def test_both_are_asked_the_same_statements_and_labels_are_the_truth():
    task, plain = persona(3, easy=20, hard=10), cities(3, easy=20, hard=10)
    assert list(task.splits) == ["alice_easy", "alice_hard", "bob_easy", "bob_hard"]
    for size in ("easy", "hard"):
        alice, bob = task[f"alice_{size}"], task[f"bob_{size}"]
        np.testing.assert_array_equal(alice.labels, plain[size].labels)
        np.testing.assert_array_equal(bob.labels, plain[size].labels)
        np.testing.assert_array_equal(bob.groups, alice.groups)
        for statement, ours, theirs in zip(
            plain[size].texts, alice.texts, bob.texts, strict=True
        ):
            assert ours == f"Alice is asked: {statement} True or false? Alice says:"
            assert theirs == ours.replace("Alice", "Bob")


def groups_of(task):
    return {city for split in task.splits.values() for city in split.groups}


@pytest.mark.parametrize("seed", [0, 7])
def test_no_city_is_both_taught_and_asked(seed):
    asked, taught = groups_of(persona(seed)), groups_of(lessons(seed))
    more = groups_of(persona(seed, 300, 300, skip=300))
    assert len(asked) == len(taught) == 2 * HELD_OUT
    assert len(more) == 2 * 300
    assert not asked & taught
    assert not more & (asked | taught)


@pytest.mark.parametrize(("size", "count"), [("easy", 151), ("hard", 1), ("easy", "ten")])
def test_impossible_counts_are_refused(size, count):
    with pytest.raises(ValueError, match=rf"{size} is {count!r}.*2 to 150"):
        persona(0, **{size: count})


@pytest.mark.parametrize("skip", [1, 150, 299])
def test_cities_of_lessons_are_asked_about_nowhere(skip):
    with pytest.raises(ValueError, match=rf"skip is {skip}.*0, or 300 and more"):
        persona(skip=skip)


@pytest.mark.parametrize("skip", [-1, 599, "ten"])
def test_cities_that_cannot_be_skipped(skip):
    with pytest.raises(ValueError, match=rf"skip is {skip!r}"):
        cities(0, 2, 2, skip=skip)
