"""Tasks of one's own: statements and labels from a file or a data frame.

`load_table` takes CSV, TSV, JSON lines, Parquet and data frames, `load_csv` any file of fields
with a separator. Whatever is wrong is named with its line, or its row where there are no lines.
"""

import csv
import io
import json
import numbers
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from elkutils._inputs import LIKE_GAPS, WRITTEN_GAPS, is_missing, whole_number
from elkutils.tasks.task import Split, Task, check_characters, statement_key

LABEL_WORDS = {"0": 0, "1": 1, "false": 0, "true": 1, "no": 0, "yes": 1}
CONTRADICTIONS = "refuse", "drop", "keep"
SEPARATORS = {".csv": ",", ".tsv": "\t", ".tab": "\t"}
LINES = ".jsonl", ".ndjson"


@dataclass
class _Row:
    """The wanted fields of one row, and where it stands."""

    place: str
    fields: dict[str, Any]
    label: int = 0


def load_csv(
    path: str | Path,
    text: str = "statement",
    label: str = "label",
    group: str | None = None,
    split: str | None = None,
    *,
    positive: object = None,
    contradictions: str = "refuse",
    separator: str = ",",
    encoding: str = "utf-8",
) -> Task:
    """Read a task from a CSV file of statements and labels.

    Parameters
    ----------
    path : str or Path
        A file of fields with a header line. Statements that contain the separator need quotes.
    text, label : str
        Names of the columns of statements and of labels. Labels are 0/1, true/false or
        yes/no, in any case, 0.0/1.0 too; 1, true and yes become 1.
    group : str, optional
        Name of a column of groups: rows with the same entry stay on one side of a
        train-test split. Without it each distinct statement is its own group.
    split : str, optional
        Name of a column of split names. Without it there is one split, ``"all"``.
    positive : str or number, optional
        The entry of the label column that becomes 1, where labels are words of your own, such
        as ``"deceptive"``; the other one becomes 0. Both are kept as `Split.words`.
    contradictions : "refuse", "drop" or "keep"
        What happens where one statement has both labels: an error, all its rows left out, or
        a warning.
    separator : str
        The character between two fields.
    encoding : str
        A byte order mark of UTF-8 is fine.

    Returns
    -------
    Task
        Named after the file, with its splits in the order of first appearance.

    Raises
    ------
    FileNotFoundError
        If there is no file at `path`.
    ValueError
        If a column is missing or named twice, there are no rows, a line has more fields than
        the header, a quote is not closed, a field is empty, the labels are not two known
        values, or one statement has both labels.
    """
    if _is_frame(path):
        raise ValueError(f"path is a {type(path).__name__}; load_table reads data frames")
    path = _existing(path, "CSV file")
    rows = _csv_records(path, separator, encoding)
    return _task(
        path.stem, path.name, rows, path, text, label, group, split, positive, contradictions
    )


def load_table(
    source: Any,
    text: str = "statement",
    label: str = "label",
    group: str | None = None,
    split: str | None = None,
    *,
    positive: object = None,
    contradictions: str = "refuse",
    name: str | None = None,
) -> Task:
    """Read a task from a data frame, or from a CSV, TSV, JSON-lines or Parquet file.

    Parameters
    ----------
    source : path, data frame, or sequence of mappings
        A path ends in .csv, .tsv, .jsonl, .ndjson or .parquet (which needs pyarrow). A frame
        is one of pandas or polars, or what has ``to_pandas``. A mapping is one row.
    text, label, group, split, positive, contradictions
        As in `load_csv`.
    name : str, optional
        Name of the task; None for that of the file, or "table".

    Raises
    ------
    FileNotFoundError
        If there is no file.
    ValueError
        As `load_csv`, and for an unknown kind of file.

    Examples
    --------
    >>> rows = [
    ...     {"statement": "I like it.", "label": "honest"},
    ...     {"statement": "I love it.", "label": "deceptive"},
    ... ]
    >>> load_table(rows, positive="deceptive")["all"]
    <Split 'all': 2 statements, 1 of them deceptive, 2 groups>
    """
    if _is_frame(source):
        records, origin, stem = _frame_records(source), f"a {type(source).__name__}", "table"
    elif isinstance(source, Sequence) and not isinstance(source, str):
        records, origin, stem = _mapping_records(source), "a list of rows", "table"
    else:
        path = _existing(source, "file")
        records, origin, stem = _file_records(path), path.name, path.stem
    return _task(
        name or stem,
        origin,
        records,
        source,
        text,
        label,
        group,
        split,
        positive,
        contradictions,
    )


def _task(name, origin, records, source, text, label, group, split, positive, contradictions):
    if contradictions not in CONTRADICTIONS:
        raise ValueError(
            f"contradictions is {contradictions!r}; it has to be one of "
            f"{', '.join(CONTRADICTIONS)}"
        )
    columns = {"text": text, "label": label, "group": group, "split": split}
    columns = {role: column for role, column in columns.items() if column is not None}
    shown = source if isinstance(source, str | Path) else origin
    rows = _wanted(shown, records, columns)
    words = _label(rows, label, positive)
    kept = _settled(rows, words, contradictions)
    dropped = len(rows) - len(kept)
    by_split: dict[str, list[_Row]] = {}
    for row in kept:
        by_split.setdefault(row.fields.get("split", "all"), []).append(row)
    note = f"; {dropped} rows that contradict others are left out" if dropped else ""
    return Task(
        name=name,
        splits={name: _split(name, part, words) for name, part in by_split.items()},
        description=f"Statements read from {origin}{note}",
        provenance=origin,
        licence="not stated",
    )


def _split(name: str, rows: list[_Row], words: tuple[str, str]) -> Split:
    texts = [row.fields["text"] for row in rows]
    return Split(
        name,
        texts=texts,
        labels=[row.label for row in rows],
        groups=[row.fields.get("group", statement_key(row.fields["text"])) for row in rows],
        words=words,
    )


def _wanted(source, records: Iterator, columns: Mapping[str, str]) -> list[_Row]:
    """Return the wanted fields of each row: role → text; the first record is the header."""
    header = next(records, None)
    if not header:
        raise ValueError(f"{source} is empty; it needs a header line and statements")
    joined = "".join(map(str, header))
    header = [statement_key(str(name)) for name in header]
    _check_columns(source, columns, header, joined)
    at = {role: header.index(column) for role, column in columns.items()}
    rows = [
        _Row(where, {role: _field(values[i], role, columns, where) for role, i in at.items()})
        for where, values in records
    ]
    if not rows:
        raise ValueError(f"{source} has a header and no rows; it needs at least one statement")
    return rows


def _check_columns(source, columns, header, joined) -> None:
    if columns["text"] == columns["label"]:
        raise ValueError(f"text and label are both {columns['text']!r}; they need two columns")
    missing = {role: name for role, name in columns.items() if name not in header}
    if missing:
        others = [mark for mark in (";", "\t", "|") if mark in joined]
        hint = (
            f"; is the separator {others[0]!r}? It has to be a comma, or load_csv needs "
            f"separator={others[0]!r}"
            if others
            else f"; {' and '.join(f'{role}=' for role in missing)} can name another"
        )
        raise ValueError(
            f"{source} has no column {list(missing.values())}; its columns are {header}{hint}"
        )
    for role, name in columns.items():
        places = [i + 1 for i, found in enumerate(header) if found == name]
        if len(places) > 1:
            raise ValueError(
                f"{source} has {len(places)} columns {name!r} (columns "
                f"{' and '.join(map(str, places))}), and {role} names one; rename the others"
            )


def _field(value, role: str, columns: Mapping[str, str], where: str) -> str:
    if is_missing(value) or (isinstance(value, str) and not statement_key(value)):
        raise ValueError(f"{where} has an empty {columns[role]!r}")
    if isinstance(value, str) and value.strip() in WRITTEN_GAPS:
        raise ValueError(
            f"{where} has {value.strip()!r} in {columns[role]!r}, as for a missing entry; fill "
            "it in, or leave the row out"
        )
    if role != "text":
        return _word(value)
    if not isinstance(value, str):
        raise ValueError(f"{where} has {value!r} in {columns[role]!r}; it has to be a string")
    check_characters(f"{where} of {columns[role]!r}", value)
    return value.strip()


def _word(value: object) -> str:
    """Return a label or an id as text: 2.0 and "2.0" are "2", and True is "True"."""
    if isinstance(value, str):
        return whole_number(statement_key(value))
    item = getattr(value, "item", None)
    value = item() if callable(item) else value
    if (
        isinstance(value, numbers.Real)
        and not isinstance(value, bool)
        and float(value).is_integer()
    ):
        return str(int(value))
    return str(value)


def _label(rows: list[_Row], column: str, positive: object) -> tuple[str, str]:
    """Set the labels of the rows; return what 0 and 1 are called."""
    first: dict[str, str] = {}
    for row in rows:
        first.setdefault(row.fields["label"], row.place)
    if positive is not None:
        known, words = _own_words(first, column, positive)
    else:
        known, words = LABEL_WORDS, ("false", "true")
        _check_known(first, column)
    for row in rows:
        row.label = known[row.fields["label"].lower()]
    return words


def _check_known(first: Mapping[str, str], column: str) -> None:
    found = sorted(first)
    shown = _listed(found)
    unknown = [word for word in found if word.lower() not in LABEL_WORDS]
    if unknown:
        raise ValueError(
            f"column {column!r} holds {shown}; labels have to be two values out of 0/1, "
            f"true/false or yes/no, and {first[unknown[0]]} has {unknown[0]!r}. Of words of "
            f"your own, two values, positive= names the one that becomes 1: "
            f"positive={unknown[0]!r}, say"
        )
    values = {LABEL_WORDS[word.lower()] for word in found}
    if len(values) == 1:
        missing = "false" if 1 in values else "true"
        raise ValueError(
            f"column {column!r} holds only {shown}: no statement is {missing}, and both "
            "classes are needed"
        )


def _own_words(first, column, positive):
    wanted = _word(positive).lower()
    shown = _listed(sorted(first))
    lower: dict[str, str] = {}
    for word in first:
        lower.setdefault(word.lower(), word)
    others = [word for word in lower if word != wanted]
    if wanted not in lower:
        raise ValueError(
            f"positive is {positive!r}; it has to be an entry of column {column!r}, which "
            f"holds {shown}"
        )
    if len(others) != 1:
        extra = f", and {first[lower[others[1]]]} has {lower[others[1]]!r}" if others else ""
        raise ValueError(
            f"column {column!r} holds {shown}; with positive={positive!r} it has to hold one "
            f"other value for 0{extra}: leave the other rows out"
        )
    other = lower[others[0]]
    if other in LIKE_GAPS and other != "-1":
        raise ValueError(
            f"{first[other]} has {other!r} in column {column!r}, as for a missing label; with "
            f"positive={positive!r} the other rows need a word of their own"
        )
    return {others[0]: 0, wanted: 1}, (lower[others[0]], lower[wanted])


def _listed(words: Sequence[str]) -> str:
    return ", ".join(repr(word) for word in words[:10]) + (", …" if words[10:] else "")


def _settled(rows: list[_Row], words, contradictions: str) -> list[_Row]:
    """Return the rows that are kept, or raise ValueError where two contradict each other."""
    if contradictions == "keep":
        return rows
    labels: dict[str, dict[int, str]] = {}
    for row in rows:
        seen = labels.setdefault(statement_key(row.fields["text"]), {})
        seen.setdefault(row.label, row.place)
    both = {key: seen for key, seen in labels.items() if len(seen) == 2}
    if both and contradictions == "refuse":
        (key, seen), more = next(iter(both.items())), len(both) - 1
        raise ValueError(
            f"the statement {key!r} is given both as {words[1]} and as {words[0]}, on "
            f"{seen[1]} and {seen[0]}{f', and {more} more statements are too' if more else ''};"
            " mend the rows, or contradictions='drop' leaves all of them out and 'keep' keeps"
            " them"
        )
    kept = [row for row in rows if statement_key(row.fields["text"]) not in both]
    if len({row.label for row in kept}) < 2:
        raise ValueError(
            f"contradictions is 'drop', and without the {len(both)} statements that have both "
            "labels no statement of one class is left"
        )
    return kept


def _existing(path, kind: str) -> Path:
    if not isinstance(path, str | Path):
        raise ValueError(f"path is a {type(path).__name__}; it has to be the path of a file")
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"no {kind} at {path}")
    return path


def _file_records(path: Path) -> Iterator:
    suffix = path.suffix.lower()
    if suffix in SEPARATORS:
        return _csv_records(path, SEPARATORS[suffix], "utf-8")
    if suffix in LINES:
        return _json_records(path)
    if suffix in (".parquet", ".pq"):
        return _parquet_records(path)
    known = ", ".join([*SEPARATORS, *LINES, ".parquet"])
    raise ValueError(
        f"{path} ends in {suffix!r}; load_table reads {known}, and load_csv any file of fields"
    )


def _text_of(path: Path, encoding: str) -> str:
    raw = path.read_bytes()
    if not isinstance(encoding, str):
        raise ValueError(f"encoding is {encoding!r}; it has to be a name, such as 'utf-8'")
    if encoding.lower().replace("_", "-") in ("utf-8", "utf8"):
        encoding = "utf-8-sig"
    try:
        text = raw.decode(encoding)
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        wide = raw[:2] in (b"\xff\xfe", b"\xfe\xff")
        likely = "utf-16" if wide else "cp1252"
        raise ValueError(
            f"{path} is not in {encoding.upper().removesuffix('-SIG')}, as line {line} shows: "
            f"{error.reason}; save it as UTF-8, or give its encoding to load_csv, such as "
            f"encoding={likely!r}"
        ) from error
    except LookupError as error:
        raise ValueError(f"encoding is {encoding!r}, which Python does not know") from error
    if "\0" in text:
        check_characters(
            f"line {text[: text.index(chr(0))].count(chr(10)) + 1} of {path}", text
        )
    return text


def _csv_records(path: Path, separator: str, encoding: str) -> Iterator:
    if not isinstance(separator, str) or len(separator) != 1:
        raise ValueError(f"separator is {separator!r}; it has to be one character")
    text = _text_of(path, encoding)
    lines = io.StringIO(text, newline="")
    limit = csv.field_size_limit(len(text) + 1)  # for the whole process, so only while reading
    try:
        rows = list(_numbered(csv.reader(lines, delimiter=separator, strict=True), path))
    finally:
        csv.field_size_limit(limit)
    if not rows:
        return
    (_, header), *rows = rows
    yield header
    for line, values in rows:
        if len(values) > len(header):
            raise ValueError(
                f"line {line} has more fields than the header; put quotes around a statement "
                f"that contains {'commas' if separator == ',' else repr(separator)}"
            )
        yield f"line {line}", values + [None] * (len(header) - len(values))


def _numbered(reader, path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the line on which each row begins, and its fields; blank lines are left out."""
    line = 1
    try:
        for values in reader:
            if values:
                yield line, values
            line = reader.line_num + 1
    except csv.Error as error:
        raise ValueError(
            f"line {line} of {path} is not a row of a CSV file ({error}); is a quote not "
            'closed? A quote inside a quoted statement is written twice, ""'
        ) from error


def _json_records(path: Path) -> Iterator:
    rows = []
    for number, line in enumerate(_text_of(path, "utf-8").split("\n"), start=1):
        if line.strip():
            rows.append((f"line {number}", _json_object(line, number)))
    return _of_mappings(rows)


def _json_object(line: str, number: int) -> dict:
    def once(pairs):
        twice = [
            name for name, count in Counter(name for name, _ in pairs).items() if count > 1
        ]
        if twice:
            raise ValueError(f"line {number} names {twice[0]!r} twice; rename one")
        return dict(pairs)

    try:
        found = json.loads(line, object_pairs_hook=once)
    except json.JSONDecodeError as error:
        raise ValueError(f"line {number} is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise ValueError(f"line {number} is not an object {{…}}; every line has to be one")
    return found


def _mapping_records(rows: Sequence) -> Iterator:
    for i, row in enumerate(rows):
        if not isinstance(row, Mapping):
            raise ValueError(f"source[{i}] is {row!r}; each row has to map columns to values")
    return _of_mappings([(f"row {i}", row) for i, row in enumerate(rows)])


def _of_mappings(rows: Iterable[tuple[str, Mapping]]) -> Iterator:
    header = list(dict.fromkeys(name for _, row in rows for name in row))
    yield header
    for where, row in rows:
        yield where, [row.get(name) for name in header]


def _parquet_records(path: Path) -> Iterator:
    try:
        from pyarrow import ArrowException
        from pyarrow.parquet import read_table
    except ImportError as error:
        raise ImportError("reading Parquet needs pyarrow: pip install pyarrow") from error
    try:
        table = read_table(path)
    except (ArrowException, OSError) as error:
        raise ValueError(f"{path} is not a Parquet file: {error}") from error
    return _frame_records(table)


def _is_frame(source) -> bool:
    parts = "columns", "column_names", "to_pandas"
    return any(hasattr(source, part) for part in parts) and not isinstance(source, type)


def _frame_records(frame) -> Iterator:
    if hasattr(frame, "iloc"):  # pandas
        header, columns = list(frame.columns), (frame.iloc[:, i] for i in range(frame.shape[1]))
        values = [column.tolist() for column in columns]
    elif hasattr(frame, "get_columns"):  # polars
        header, values = list(frame.columns), [part.to_list() for part in frame.get_columns()]
    elif hasattr(frame, "combine_chunks"):  # pyarrow
        header, values = frame.column_names, [part.to_pylist() for part in frame.columns]
    else:
        yield from _frame_records(frame.to_pandas())
        return
    yield header
    for i, row in enumerate(zip(*values, strict=True)):
        yield f"row {i}", row
