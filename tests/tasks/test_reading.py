"""Files and frames of one's own, and words of one's own for the labels."""

import csv
import json

import numpy as np
import pandas as pd
import pytest

from elkutils.tasks import load_csv, load_table

ROWS = [
    {"statement": "I like it.", "label": "honest", "topic": "a"},
    {"statement": "I love it.", "label": "deceptive", "topic": "b"},
    {"statement": "I hate it.", "label": "Honest", "topic": "b"},
]


def write(folder, text, name="own.csv", encoding="utf-8"):
    path = folder / name
    path.write_bytes(text.encode(encoding))
    return path


def jsonl(rows):
    return "\n".join(json.dumps(row) for row in rows) + "\n"


def test_every_kind_of_source_gives_the_same_task(tmp_path):
    frame = pd.DataFrame(ROWS)
    frame.to_csv(tmp_path / "own.csv", index=False)
    frame.to_csv(tmp_path / "own.tsv", index=False, sep="\t")
    frame.to_parquet(tmp_path / "own.parquet")
    write(tmp_path, jsonl(ROWS), "own.jsonl")
    files = [tmp_path / f"own.{kind}" for kind in ("csv", "tsv", "parquet", "jsonl")]
    for source in (frame, ROWS, *files):
        task = load_table(source, group="topic", positive="deceptive")
        split = task["all"]
        assert split.texts == tuple(row["statement"] for row in ROWS)
        assert split.labels.tolist() == [0, 1, 0]
        assert split.groups.tolist() == ["a", "b", "b"]
        assert split.words == ("honest", "deceptive")
        assert split.named_labels.tolist() == ["honest", "deceptive", "honest"]
        assert repr(split) == "<Split 'all': 3 statements, 1 of them deceptive, 2 groups>"


def test_a_path_may_begin_at_home_and_a_field_may_be_long(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    text = "I promise. " * 13000
    write(tmp_path, f'statement,label\n"{text}",1\nShort.,0\n')
    limit = csv.field_size_limit()
    assert load_csv("~/own.csv")["all"].texts[0] == text.strip()
    assert csv.field_size_limit() == limit


@pytest.mark.parametrize("pair", [(0.0, 1.0), (0, 1), (False, True), ("no", "yes")])
def test_labels_of_a_frame_may_be_numbers_or_known_words(pair):
    frame = pd.DataFrame(
        {"statement": ["A.", "B.", "C."], "label": [pair[i] for i in (1, 0, 1)]}
    )
    assert load_table(frame)["all"].labels.tolist() == [1, 0, 1]
    assert load_table(frame, positive=pair[0])["all"].labels.tolist() == [0, 1, 0]


def test_labels_written_as_floats(tmp_path):
    path = write(tmp_path, "statement,label\nA.,1.0\nB.,0.0\n")
    assert load_csv(path)["all"].labels.tolist() == [1, 0]
    path = write(tmp_path, "statement,label\nA.,-1\nB.,1.0\n")
    assert load_csv(path, positive=1)["all"].labels.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("labels", "positive", "message"),
    [
        (["good", "bad"], None, "row 1 has 'bad'.*positive="),
        (["good", "bad"], "fine", "positive is 'fine'.* holds 'bad', 'good'"),
        (["good", "good"], "good", "one other value"),
        (["good", "bad", "unsure"], "good", "row 2 has 'unsure'"),
        ([1, np.nan], None, "row 1 has an empty 'label'"),
        ([1, np.inf], None, "row 1 has 'inf'"),
        (["1", None], None, "row 1 has an empty 'label'"),
    ],
)
def test_labels_that_do_not_fit_are_named(labels, positive, message):
    texts = [f"{i}." for i in range(len(labels))]
    with pytest.raises(ValueError, match=message):
        load_table(pd.DataFrame({"statement": texts, "label": labels}), positive=positive)


def test_contradictions_are_refused_dropped_or_kept(tmp_path):
    path = write(tmp_path, "statement,label\nA.,1\nB.,0\nA. ,0\nC.,1\nA.,1\n")
    with pytest.raises(ValueError, match=r"line 2 and line 4.*'drop'.*'keep'"):
        load_csv(path)
    task = load_csv(path, contradictions="drop")
    assert task["all"].texts == ("B.", "C.")
    assert "3 rows that contradict" in task.description
    with pytest.warns(UserWarning, match="as false and as true"):
        assert len(load_csv(path, contradictions="keep")["all"]) == 5
    with pytest.raises(ValueError, match="contradictions is 'mend'"):
        load_csv(path, contradictions="mend")
    path = write(tmp_path, "statement,label\nA.,1\nB.,0\nA.,0\n")
    with pytest.raises(ValueError, match="no statement of one class is left"):
        load_csv(path, contradictions="drop")


def test_a_name_given_twice_is_refused_everywhere(tmp_path):
    frame = pd.DataFrame([["A.", 1, 0], ["B.", 0, 1]], columns=["statement", "label", "label"])
    with pytest.raises(ValueError, match="2 columns 'label'"):
        load_table(frame)
    path = write(tmp_path, '{"statement": "A.", "label": 1, "label": 0}\n', "own.jsonl")
    with pytest.raises(ValueError, match="line 1 names 'label' twice"):
        load_table(path)
    assert len(load_table(frame.set_axis(["statement", "label", "other"], axis=1))["all"]) == 2


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (
            '{"statement": "A.", "label": 1}\n\n{"statement": "B.", "label"\n',
            "line 3 is not JSON",
        ),
        ('["A.", 1]\n', "line 1 is not an object"),
        (
            '{"statement": "A.", "label": 1}\n{"statement": "B."}\n',
            "line 2 has an empty 'label'",
        ),
        ('{"statement": 7, "label": 1}\n', "line 1 has 7 in 'statement'"),
        ('{"statement": "\\ud800", "label": 1}\n', "line 1 .* half a character"),
    ],
)
def test_json_lines_say_what_is_wrong(tmp_path, lines, message):
    with pytest.raises(ValueError, match=message):
        load_table(write(tmp_path, lines, "own.jsonl"))


def test_encodings_and_separators(tmp_path):
    text = "statement;label\nZürich.;1\nB.;0\n"
    for encoding in ("utf-16", "latin-1"):
        path = write(tmp_path, text, encoding=encoding)
        with pytest.raises(ValueError, match=r"line \d.*encoding='(utf-16|cp1252)"):
            load_csv(path, separator=";")
        assert load_csv(path, separator=";", encoding=encoding)["all"].texts[0] == "Zürich."
    with pytest.raises(ValueError, match="NUL"):
        load_csv(write(tmp_path, "statement;label\n", encoding="utf-16-le"))


def test_other_sources_are_refused(tmp_path):
    with pytest.raises(ValueError, match="load_table reads data frames"):
        load_csv(pd.DataFrame(ROWS))
    with pytest.raises(ValueError, match=r"ends in '.xlsx'"):
        load_table(write(tmp_path, "x", "own.xlsx"))
    with pytest.raises(ValueError, match="not a Parquet file"):
        load_table(write(tmp_path, "x", "own.parquet"))
    with pytest.raises(FileNotFoundError, match="no file at"):
        load_table(tmp_path / "none.jsonl")
    with pytest.raises(ValueError, match=r"source\[0\] is 3"):
        load_table([3])


@pytest.mark.parametrize("gap", ["NA", "nan", "NULL", "n/a", "-"])
def test_a_word_for_a_missing_label_is_no_label(tmp_path, gap):
    path = tmp_path / "gaps.csv"
    path.write_text(f"statement,label\nA.,lie\nB.,{gap}\n")
    with pytest.raises(ValueError, match=f"line 3 has {gap!r} in .*'label'"):
        load_csv(path, positive="lie")


def test_a_statement_without_anything_to_see_is_empty(tmp_path):
    path = tmp_path / "unseen.csv"
    path.write_text("statement,label\n\u200b,1\nB.,0\n", encoding="utf-8")
    with pytest.raises(ValueError, match="line 2 has an empty 'statement'"):
        load_csv(path)


def test_groups_written_as_floats_are_those_written_as_integers(tmp_path):
    path = tmp_path / "floats.csv"
    path.write_text("statement,label,g\nA.,1,2.0\nB.,0,2\nC.,1,30.00\nD.,0,30\n")
    assert load_csv(path, group="g")["all"].groups.tolist() == ["2", "2", "30", "30"]


def test_statements_and_labels_are_two_columns(tmp_path):
    path = tmp_path / "one.csv"
    path.write_text("statement,label\n1,1\n0,0\n")
    with pytest.raises(ValueError, match="text and label are both 'label'"):
        load_csv(path, text="label")
