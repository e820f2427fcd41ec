"""What is asked: a `Task` is a family of statements with labels, each named split a `Split`.

A split is checked when it is made, so that whatever comes later (activations, reporters,
scores) can rely on it. Rows that belong together, such as the true and the false statement
about one city, share a group, and `Split.train_test` never divides a group.
"""

import unicodedata
import warnings
from collections.abc import Mapping, Set
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from elkutils._inputs import check_ids, check_order, is_number, numbers, plain

VARIANTS = range(0xFE00, 0xFE10)  # how the character before is drawn


@dataclass(frozen=True, eq=False)
class Split:
    """Statements with labels and groups; immutable, checked on construction.

    Parameters
    ----------
    name : str
        What the split is called in its task.
    texts : sequence of n str
        The statements; none is blank.
    labels : array_like (n,)
        1 where the statement is true, 0 where it is false. Kept as int64.
    groups : array_like (n,)
        The group of each row; rows of a group stay on one side of a train-test split.
        None is missing. Kept as strings.
    stems, completions : sequence of n str, optional
        The statement in two parts: ``texts[i] == stems[i] + completions[i]``.
    neutral : sequence of n str, optional
        The stem without its subject, for pointwise mutual information.
    words : pair of str
        What the labels 0 and 1 are called.

    Raises
    ------
    ValueError
        If there are no rows, lengths differ, a label is not exactly 0 or 1, a group is missing,
        a text is blank or holds a NUL or half a character, or the stems and completions do not
        make the texts.

    Warns
    -----
    UserWarning
        If one statement has both labels or stands in two groups, or a text holds U+FFFD, the
        mark of a wrong encoding. Spaces and invisible characters do not make two statements.

    Examples
    --------
    >>> texts = ["One is even.", "Two is even."]
    >>> Split("all", texts, labels=[0, 1], groups=["one", "two"])
    <Split 'all': 2 statements, 1 of them true, 2 groups>
    """

    name: str
    texts: tuple[str, ...]
    labels: np.ndarray
    groups: np.ndarray
    stems: tuple[str, ...] | None = None
    completions: tuple[str, ...] | None = None
    neutral: tuple[str, ...] | None = None
    words: tuple[str, str] = ("false", "true")

    def __post_init__(self):
        check_order(stacklevel=4, texts=self.texts, labels=self.labels, groups=self.groups)
        for field in ("texts", "stems", "completions", "neutral"):
            object.__setattr__(self, field, _strings(field, getattr(self, field)))
        if not self.texts:
            raise ValueError("texts is empty; a split needs at least one statement")
        object.__setattr__(self, "labels", _binary(self.labels))
        self._check_lengths()
        groups = check_ids(self.groups, "groups", len(self.texts))
        object.__setattr__(self, "groups", _read_only(groups.astype(str)))
        object.__setattr__(self, "words", _two_words(self.words))
        self._check_parts()
        self._check_repeats()

    def _check_lengths(self):
        for field in ("labels", "groups", "stems", "completions", "neutral"):
            values = getattr(self, field)
            if values is None:
                continue
            shape = (len(values),) if isinstance(values, list | tuple) else np.shape(values)
            if shape != (len(self.texts),):
                raise ValueError(
                    f"{field} has shape {shape}; it needs one entry for each of the "
                    f"{len(self.texts)} texts"
                )

    def _check_parts(self):
        for row, text in enumerate(self.texts):
            if not statement_key(text):
                raise ValueError(f"texts[{row}] is blank; every statement needs words")
            check_characters(f"texts[{row}]", text)
        if (self.stems is None) != (self.completions is None):
            raise ValueError("stems and completions have to be given together")
        for row, text in enumerate(self.texts if self.stems is not None else ()):
            made = self.stems[row] + self.completions[row]
            if made != text:
                raise ValueError(
                    f"stems[{row}] + completions[{row}] is {made!r}; texts[{row}] is {text!r}"
                )

    def _check_repeats(self):
        first, contradicted, regrouped = {}, [], []
        for row, text in enumerate(self.texts):
            seen = first.setdefault(statement_key(text), row)
            if self.labels[seen] != self.labels[row]:
                contradicted.append((seen, row))
            if self.groups[seen] != self.groups[row]:
                regrouped.append((seen, row))
        object.__setattr__(self, "_shared", bool(regrouped))
        if contradicted:
            self._warn(contradicted, f"as {self.words[0]} and as {self.words[1]}", "leave out")
        if regrouped:
            self._warn(
                regrouped, "in two groups", "train_test keeps together, as if one group,"
            )

    def _warn(self, pairs, how, remedy):
        (one, other), more = pairs[0], len(pairs) - 1
        warnings.warn(
            f"texts[{one}] and texts[{other}] of {self.name!r} are one statement given {how} "
            f"({self.texts[one][:60]!r}{f'; so are {more} more rows' if more else ''}); "
            f"{remedy} such rows, and intervals count them as independent",
            UserWarning,
            stacklevel=5,
        )

    def __len__(self):
        return len(self.texts)

    def __repr__(self):
        return (
            f"<Split {self.name!r}: {len(self)} statements, {self.labels.sum()} of them "
            f"{self.words[1]}, {len(set(self.groups))} groups>"
        )

    @property
    def named_labels(self) -> np.ndarray:
        """The labels (n,) as words, for reporters that take ``positive=split.words[1]``."""
        return np.array(self.words)[self.labels]

    def train_test(
        self, test_fraction: float = 0.3, seed: int = 0
    ) -> tuple[np.ndarray, np.ndarray]:
        """Divide the rows so that no group, and no statement, is on both sides.

        Groups that share a statement count as one.

        Parameters
        ----------
        test_fraction : float
            Share of the *groups* that is held out, in (0, 1).
        seed : int
            Seed of the draw of groups. Splits with the same groups are divided in the same way.

        Returns
        -------
        train, test : int64 arrays
            Row numbers in ascending order; together they are all rows, each once.

        Raises
        ------
        ValueError
            If `test_fraction` is not in (0, 1), or either side would miss a class.

        Examples
        --------
        >>> split = Split("all", list("abcdef"), [0, 1] * 3, groups=list("112233"))
        >>> [rows.tolist() for rows in split.train_test()]
        [[0, 1, 2, 3], [4, 5]]
        """
        if not (is_number(test_fraction) and 0 < test_fraction < 1):
            raise ValueError(f"test_fraction is {test_fraction!r}; it has to be in (0, 1)")
        groups = self._united() if self._shared else self.groups
        names = np.unique(groups)
        held_out = np.random.default_rng(seed).permutation(names)
        held_out = held_out[: round(test_fraction * len(names))]
        in_test = np.isin(groups, held_out)
        for side, rows in (("train", ~in_test), ("test", in_test)):
            if len(np.unique(self.labels[rows])) < 2:
                raise ValueError(
                    f"the {side} side of {self.name!r} would miss a class "
                    f"({len(names)} groups, test_fraction={test_fraction}, seed={seed}); "
                    "it needs more groups of both classes, or another fraction or seed"
                )
        return np.flatnonzero(~in_test), np.flatnonzero(in_test)

    def _united(self) -> np.ndarray:
        """The group of each row, those that share a statement under the first one's name."""
        from scipy.sparse import coo_matrix
        from scipy.sparse.csgraph import connected_components

        names, group = np.unique(self.groups, return_inverse=True)
        keys = [statement_key(text) for text in self.texts]
        texts, text = np.unique(keys, return_inverse=True)
        size = len(names) + len(texts)
        links = coo_matrix((np.ones(len(group)), (group, len(names) + text)), (size, size))
        _, part = connected_components(links, directed=False)
        _, first = np.unique(part[: len(names)], return_index=True)
        named = dict(zip(part[: len(names)][first], names[first], strict=True))
        return np.array([named[each] for each in part[: len(names)]])[group]


@dataclass(frozen=True, eq=False)
class Task:
    """A family of statements: named splits, and where they come from.

    Parameters
    ----------
    name : str
    splits : mapping of str to Split
        By name; kept read-only. ``task["easy"]`` is ``task.splits["easy"]``.
    description, provenance, licence : str
        What the statements say, where the facts come from, and under which licence.

    Raises
    ------
    ValueError
        If there is no split, or the key of a split is not its name.

    Warns
    -----
    UserWarning
        If a statement stands in two splits: what is learned on one was seen in the other.
    """

    name: str
    splits: Mapping[str, Split]
    description: str = ""
    provenance: str = ""
    licence: str = ""

    def __post_init__(self):
        if not isinstance(self.splits, Mapping):
            raise ValueError(
                f"splits is a {type(self.splits).__name__}; it has to map names to splits"
            )
        if not self.splits:
            raise ValueError("splits is empty; a task needs at least one split")
        for name, split in self.splits.items():
            if split.name != name:
                raise ValueError(f"splits[{name!r}] is named {split.name!r}; names must agree")
        folded: dict[str, str] = {}
        for name in self.splits:
            other = folded.setdefault(name.strip().casefold(), name)
            if other != name:
                warnings.warn(
                    f"splits has {other!r} and {name!r}, which differ in capital letters or "
                    "spaces only; write them alike if they are one",
                    UserWarning,
                    stacklevel=4,
                )
        object.__setattr__(self, "splits", MappingProxyType(dict(self.splits)))
        self._check_leaks()

    def _check_leaks(self):
        first, leaks = {}, {}
        for name, split in self.splits.items():
            for row, text in enumerate(split.texts):
                other, there = first.setdefault(statement_key(text), (name, row))
                if other != name:
                    leaks.setdefault((other, name), []).append((there, row))
        for (one, other), rows in leaks.items():
            there, here = rows[0]
            warnings.warn(
                f"splits[{one!r}].texts[{there}] and splits[{other!r}].texts[{here}] are the "
                f"same statement, and {len(rows)} rows of {other!r} stand in {one!r} too; a "
                f"reporter fitted on one is not tested by the other: leave them out of one",
                UserWarning,
                stacklevel=4,
            )

    def __repr__(self):
        sizes = ", ".join(f"{name} {len(split)}" for name, split in self.splits.items())
        return f"<Task {self.name!r}: statements by split: {sizes}>"

    def __getitem__(self, name):
        if name not in self.splits:
            raise KeyError(f"{self.name} has no split {name!r}; it has {list(self.splits)}")
        return self.splits[name]


def statement_key(text: str) -> str:
    """Return what equal statements share: spacing, composition and invisible marks aside.

    Examples
    --------
    >>> statement_key("One  is\u00a0odd. ") == statement_key("One is odd.")
    True
    """
    if text.isascii():
        return " ".join(text.split())
    shown = (each for each in unicodedata.normalize("NFC", text) if not _is_unseen(each))
    return " ".join("".join(shown).split())


def _is_unseen(character: str) -> bool:
    """Whether a character has no width on a page: marks of format and of variants."""
    return unicodedata.category(character) == "Cf" or ord(character) in VARIANTS


def check_characters(where: str, text: str) -> None:
    """Raise ValueError if no tokenizer can read a text; warn if it was decoded wrongly."""
    if "\0" in text:
        raise ValueError(
            f"{where} holds the character NUL (\\x00) at {text.index(chr(0))}; remove it, or "
            "read the file in its own encoding, such as utf-16"
        )
    if text.isascii():
        return
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError(
            f"{where} holds half a character (a lone surrogate) at {error.start}; remove it, "
            "or read the file in its own encoding"
        ) from error
    if "\ufffd" in text:
        warnings.warn(
            f"{where} holds U+FFFD (\ufffd) at {text.index(chr(0xFFFD))}, which stands for "
            "what could not be decoded; read the file in its own encoding",
            UserWarning,
            stacklevel=6,
        )
    elif (meant := _decoded_twice(text)) is not None:
        warnings.warn(
            f"{where} is {text[:60]!r}, which looks like UTF-8 that was read as latin-1: "
            f"{meant[:60]!r}; read the file as UTF-8",
            UserWarning,
            stacklevel=6,
        )


def _decoded_twice(text: str) -> str | None:
    """What a text was before it was read as latin-1 or cp1252; None where it was not."""
    for encoding in ("latin-1", "cp1252"):
        try:
            return text.encode(encoding).decode("utf-8")
        except UnicodeError:
            continue
    return None


def _two_words(words):
    words = _strings("words", words)
    if len(words) != 2 or words[0] == words[1]:
        raise ValueError(f"words is {words!r}; it has to be two different words, for 0 and 1")
    return words


def _strings(field, values):
    if values is None:
        return None
    if isinstance(values, str):
        raise ValueError(f"{field} is one string; it has to be a sequence of strings")
    if isinstance(values, Mapping | Set) or hasattr(values, "columns"):
        raise ValueError(
            f"{field} is a {type(values).__name__}; it has to be a sequence of strings, in "
            "order"
        )
    values = tuple(values)
    for row, value in enumerate(values):
        if not isinstance(value, str):
            raise ValueError(f"{field}[{row}] is {value!r}; it has to be a string")
    return tuple(str(value) for value in values)


def _binary(labels):
    labels = plain(labels, "labels")
    if labels.dtype.kind == "O":
        labels = numbers(labels, "labels")
    if labels.dtype.kind not in "biuf":
        raise ValueError(
            f"labels holds {np.unique(labels)[:10].tolist()}; each has to be exactly 0 or 1, "
            "as in `labels == 'true'`; the words can be kept as words=('false', 'true')"
        )
    wrong = np.flatnonzero(~np.isin(labels, (0, 1)))
    if len(wrong):
        raise ValueError(
            f"labels holds {np.unique(labels)[:10].tolist()}; each has to be exactly 0 or 1, "
            f"and labels[{wrong[0]}] is {labels.ravel()[wrong[0]]}"
        )
    return _read_only(labels.astype(np.int64))


def _read_only(array):
    array = array.copy()
    array.flags.writeable = False
    return array
