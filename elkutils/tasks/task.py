"""What is asked: a `Task` is a family of statements with labels, each named split a `Split`.

A split is checked when it is made, so that whatever comes later (activations, reporters,
scores) can rely on it. Rows that belong together, such as the true and the false statement
about one city, share a group, and `Split.train_test` never divides a group.
"""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np

LABEL_WORDS = {"0": 0, "1": 1, "false": 0, "true": 1, "no": 0, "yes": 1}


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
        Kept as strings.
    stems, completions : sequence of n str, optional
        The statement in two parts: ``texts[i] == stems[i] + completions[i]``.
    neutral : sequence of n str, optional
        The stem without its subject, for pointwise mutual information.

    Raises
    ------
    ValueError
        If there are no rows, lengths differ, a label is not exactly 0 or 1, a text is blank,
        or the stems and completions do not make the texts.

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

    def __post_init__(self):
        for field in ("texts", "stems", "completions", "neutral"):
            object.__setattr__(self, field, _strings(field, getattr(self, field)))
        if not self.texts:
            raise ValueError("texts is empty; a split needs at least one statement")
        object.__setattr__(self, "labels", _binary(self.labels))
        object.__setattr__(self, "groups", _read_only(np.asarray(self.groups).astype(str)))
        self._check_lengths()
        self._check_parts()

    def _check_lengths(self):
        for field in ("labels", "groups", "stems", "completions", "neutral"):
            values = getattr(self, field)
            if values is None:
                continue
            if np.shape(values) != (len(self.texts),):
                raise ValueError(
                    f"{field} has shape {np.shape(values)}; it needs one entry for each of the "
                    f"{len(self.texts)} texts"
                )

    def _check_parts(self):
        for row, text in enumerate(self.texts):
            if not text.strip():
                raise ValueError(f"texts[{row}] is blank; every statement needs words")
        if (self.stems is None) != (self.completions is None):
            raise ValueError("stems and completions have to be given together")
        for row, text in enumerate(self.texts if self.stems is not None else ()):
            made = self.stems[row] + self.completions[row]
            if made != text:
                raise ValueError(
                    f"stems[{row}] + completions[{row}] is {made!r}; texts[{row}] is {text!r}"
                )

    def __len__(self):
        return len(self.texts)

    def __repr__(self):
        return (
            f"<Split {self.name!r}: {len(self)} statements, {self.labels.sum()} of them true, "
            f"{len(set(self.groups))} groups>"
        )

    def train_test(
        self, test_fraction: float = 0.3, seed: int = 0
    ) -> tuple[np.ndarray, np.ndarray]:
        """Divide the rows so that no group is on both sides.

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
        if not 0 < test_fraction < 1:
            raise ValueError(f"test_fraction is {test_fraction!r}; it has to be in (0, 1)")
        names = np.unique(self.groups)
        held_out = np.random.default_rng(seed).permutation(names)
        held_out = held_out[: round(test_fraction * len(names))]
        in_test = np.isin(self.groups, held_out)
        for side, rows in (("train", ~in_test), ("test", in_test)):
            if len(np.unique(self.labels[rows])) < 2:
                raise ValueError(
                    f"the {side} side of {self.name!r} would miss a class "
                    f"({len(names)} groups, test_fraction={test_fraction}, seed={seed}); "
                    "it needs more groups of both classes, or another fraction or seed"
                )
        return np.flatnonzero(~in_test), np.flatnonzero(in_test)


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
    """

    name: str
    splits: Mapping[str, Split]
    description: str = ""
    provenance: str = ""
    licence: str = ""

    def __post_init__(self):
        if not self.splits:
            raise ValueError("splits is empty; a task needs at least one split")
        for name, split in self.splits.items():
            if split.name != name:
                raise ValueError(f"splits[{name!r}] is named {split.name!r}; names must agree")
        object.__setattr__(self, "splits", MappingProxyType(dict(self.splits)))

    def __repr__(self):
        sizes = ", ".join(f"{name} {len(split)}" for name, split in self.splits.items())
        return f"<Task {self.name!r}: statements by split: {sizes}>"

    def __getitem__(self, name):
        if name not in self.splits:
            raise KeyError(f"{self.name} has no split {name!r}; it has {list(self.splits)}")
        return self.splits[name]


def load_csv(
    path: str | Path,
    text: str = "statement",
    label: str = "label",
    group: str | None = None,
    split: str | None = None,
) -> Task:
    """Read a task from a CSV file of statements and labels.

    Parameters
    ----------
    path : str or Path
        A comma-separated file in UTF-8 (a byte order mark is fine) with a header line.
        Statements that contain commas need quotes.
    text, label : str
        Names of the columns of statements and of labels. Labels are 0/1, true/false or
        yes/no, in any case; 1, true and yes become 1.
    group : str, optional
        Name of a column of groups: rows with the same entry stay on one side of a
        train-test split. Without it each distinct statement is its own group.
    split : str, optional
        Name of a column of split names. Without it there is one split, ``"all"``.

    Returns
    -------
    Task
        Named after the file, with its splits in the order of first appearance.

    Raises
    ------
    FileNotFoundError
        If there is no file at `path`.
    ValueError
        If a column is missing, there are no rows, a line has more fields than the header, a
        field is empty, the labels are not two known values, or one statement has both labels.
    """
    columns = {"text": text, "label": label, "group": group, "split": split}
    columns = {role: name for role, name in columns.items() if name is not None}
    rows = _read_rows(Path(path), columns)
    labels = _labels_from_words([row["label"] for row in rows], label)
    _check_conflicts([row["text"] for row in rows], labels)
    by_split = {}
    for row, value in zip(rows, labels, strict=True):
        by_split.setdefault(row.get("split", "all"), []).append((row, value))
    return Task(
        name=Path(path).stem,
        splits={name: _split_of_rows(name, part) for name, part in by_split.items()},
        description=f"Statements read from {Path(path).name}",
        provenance=Path(path).name,
        licence="not stated",
    )


def _split_of_rows(name, rows_and_labels):
    rows, labels = zip(*rows_and_labels, strict=True)
    return Split(
        name,
        texts=[row["text"] for row in rows],
        labels=labels,
        groups=[row.get("group", row["text"]) for row in rows],
    )


def _read_rows(path, columns):
    """Return the wanted fields of each line: role → stripped text."""
    if not path.is_file():
        raise FileNotFoundError(f"no CSV file at {path}")
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            _check_columns(path, columns, reader.fieldnames)
            rows = [_fields(row, columns, reader.line_num) for row in reader]
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not in UTF-8: {error}") from error
    if not rows:
        raise ValueError(f"{path} has a header and no rows; it needs at least one statement")
    return rows


def _check_columns(path, columns, found):
    if not found:
        raise ValueError(f"{path} is empty; it needs a header line and statements")
    missing = [name for name in columns.values() if name not in found]
    if missing:
        others = [mark for mark in (";", "\t", "|") if mark in "".join(found)]
        hint = f"; is the separator {others[0]!r}? It has to be a comma" if others else ""
        raise ValueError(f"{path} has no column {missing}; its columns are {list(found)}{hint}")


def _fields(row, columns, line):
    if None in row:
        raise ValueError(
            f"line {line} has more fields than the header; put quotes around a statement "
            "that contains commas"
        )
    fields = {role: (row[name] or "").strip() for role, name in columns.items()}
    for role, value in fields.items():
        if not value:
            raise ValueError(f"line {line} has an empty {columns[role]!r}")
    return fields


def _labels_from_words(words, column):
    found = sorted(set(words))
    labels = [LABEL_WORDS.get(word.lower()) for word in words]
    shown = ", ".join(repr(word) for word in found[:10]) + (", …" if found[10:] else "")
    if set(labels) in ({0}, {1}):
        missing = "false" if labels[0] else "true"
        raise ValueError(
            f"column {column!r} holds only {shown}: no statement is {missing}, and both "
            "classes are needed"
        )
    if None in labels:
        raise ValueError(
            f"column {column!r} holds {shown}; labels have to be two values out of "
            "0/1, true/false or yes/no"
        )
    return labels


def _check_conflicts(texts, labels):
    first = {}
    for text, label in zip(texts, labels, strict=True):
        if first.setdefault(text, label) != label:
            raise ValueError(f"the statement {text!r} is given both as true and as false")


def _strings(field, values):
    if values is None:
        return None
    if isinstance(values, str):
        raise ValueError(f"{field} is one string; it has to be a sequence of strings")
    values = tuple(values)
    for row, value in enumerate(values):
        if not isinstance(value, str):
            raise ValueError(f"{field}[{row}] is {value!r}; it has to be a string")
    return tuple(str(value) for value in values)


def _binary(labels):
    labels = np.asarray(labels)
    found = np.unique(labels)
    if labels.dtype.kind not in "biuf" or not np.isin(found, (0, 1)).all():
        raise ValueError(f"labels holds {found[:10].tolist()}; each has to be exactly 0 or 1")
    return _read_only(labels.astype(np.int64))


def _read_only(array):
    array = array.copy()
    array.flags.writeable = False
    return array
