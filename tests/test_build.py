"""The build says what it does, does the longest first, and ends with what failed."""

import json
import sys
from concurrent.futures import Executor, Future
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))
import build_book  # noqa: E402
import chapters  # noqa: E402
from chapters import Failure, Outcome, Schedule, in_words  # noqa: E402
from executed_twins import Twins  # noqa: E402

SECONDS = {"short": 10.0, "long": 100.0, "middle": 40.0}


class AtOnce(Executor):
    """Runs nothing: every chapter ends at once, the ones named as failing with a failure."""

    def __init__(self, failing=()):
        self.failing = failing

    def submit(self, _, name, text, timeout, kernel):
        failure = None
        if name in self.failing:
            failure = Failure(name, "code cell 2 of 3", "1 / 0", "ZeroDivisionError: division")
        task = Future()
        task.set_result(Outcome(text, 2.0, 1.0, failure))
        return task


def notebook(*cells) -> nbformat.NotebookNode:
    made = [nbformat.v4.new_code_cell(cell) for cell in cells]
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return nbformat.v4.new_notebook(cells=made, metadata={"kernelspec": kernel})


@pytest.fixture
def run():
    """Return a function that executes chapters at once: failures, lines and what was kept."""

    def execute(names, expected, failing=(), jobs=1):
        lines, kept = [], []
        failures = chapters.execute_all(
            [(name, notebook("1")) for name in names],
            jobs,
            expected,
            finished=lambda name, outcome: kept.append(name),
            say=lines.append,
            pool=AtOnce(failing),
        )
        return failures, lines, kept

    return execute


def test_longest_chapter_is_first(run):
    _, lines, kept = run(SECONDS, SECONDS)
    assert kept == ["long", "middle", "short"]
    assert lines[0] == "[1 of 3] long starts, about 2 min left"
    assert lines[1] == "    long took 0 s (1 s of processor)"
    assert lines[2].startswith("[2 of 3] middle starts, ")
    assert not any("\r" in line for line in lines)


def test_chapters_nobody_measured_count_as_the_median(run):
    _, _, kept = run(["new", *SECONDS], SECONDS)
    assert kept == ["long", "new", "middle", "short"]


def test_without_measurements_the_order_is_that_of_the_contents(run):
    _, lines, kept = run(["b", "a"], {})
    assert kept == ["b", "a"]
    assert lines[0].endswith("time left not known yet")


def test_time_left_is_that_of_the_fullest_job():
    plan = Schedule(list(SECONDS), 2, SECONDS)
    assert [plan.start(0.0), plan.start(0.0)] == ["long", "middle"]
    assert plan.left(0.0) == 100  # beside it 40, then 10
    assert plan.left(30.0) == 70
    assert plan.end("middle", 80.0) == 80
    assert plan.left(80.0) == 120  # at half the speed, 200 - 80


def test_time_left_of_what_takes_longer_than_expected_is_none():
    plan = Schedule(["long"], 2, SECONDS)
    plan.start(0.0)
    assert plan.left(500.0) == 0


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(None, "not known yet"), (20.0, "under 2 min left"), (361.0, "about 6 min left")],
)
def test_time_left_in_words(seconds, words):
    assert in_words(seconds).endswith(words)


def test_a_failed_chapter_does_not_stop_the_others(run):
    failures, lines, kept = run(SECONDS, SECONDS, failing=["long"])
    assert kept == ["middle", "short"]
    assert [failure.chapter for failure in failures] == ["long"]
    assert lines[1].startswith("    long FAILED after 0 s")


def test_report_names_chapter_cell_and_error():
    failure = Failure("one", "code cell 2 of 3", "1 / 0", "ZeroDivisionError: division by zero")
    lines = chapters.report_failures([failure]).strip().split("\n")
    assert lines == [
        "1 chapter FAILED:",
        "one, code cell 2 of 3",
        "    1 / 0",
        "  ZeroDivisionError: division by zero",
    ]


def test_seconds_come_from_the_last_build_then_from_the_chapters(tmp_path):
    assert set(chapters.expected_seconds(tmp_path / "none", "book")) <= {
        Path(page).name for page in chapters.chapter_pages(ROOT)
    }
    build_book.note_seconds(tmp_path / "seconds.json", "thresholds", 7.04)
    build_book.note_seconds(tmp_path / "seconds.json", "ensembles", 8.0)
    found = chapters.expected_seconds(tmp_path / "seconds.json", "book")
    assert (found["thresholds"], found["ensembles"]) == (7.0, 8.0)
    assert found["index"] > 0


def test_unknown_chapter_gets_the_names(capsys):
    assert build_book.main(["--chapter", "treshold"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("CHAPTER is 'treshold'; it has to be one of index, reporter-problem")
    assert "thresholds" in said


def test_a_twin_that_is_not_the_chapter_s_is_refused(tmp_path):
    (tmp_path / "book").mkdir()
    nbformat.write(notebook("set up", "# @title S\na = 1"), tmp_path / "book" / "one.ipynb")
    twins = Twins(tmp_path, tmp_path / "executed")
    same = chapters.Chapter("book/one", notebook("a = 1"))
    assert len(twins.notebook(same).cells) == 3
    with pytest.raises(ValueError, match="make notebooks"):
        twins.notebook(chapters.Chapter("book/one", notebook("a = 2")))


def test_outputs_of_a_twin_become_the_chapter_s(tmp_path):
    twin = notebook("set up", "print(1)", "where")
    for number, cell in enumerate(twin.cells, 1):
        cell.execution_count = number
        cell.outputs = [nbformat.v4.new_output("stream", text=f"{number}")]
    chapter = chapters.Chapter("book/one", notebook("print(1)"))
    twins = Twins(tmp_path, tmp_path)
    (cell,) = twins.keep(chapter, twin).cells
    assert (cell.execution_count, cell.outputs[0].text) == (1, "2")
    assert twins.path(chapter).is_file()


HEADER = """---
jupytext:
  text_representation: {extension: .md, format_name: myst}
kernelspec: {display_name: Python 3, language: python, name: python3}
---
"""
PAGES = {
    "_config.yml": """
title: Small
only_build_toc_files: true
execute: {execute_notebooks: cache, timeout: 60, run_in_temp: true, raise_on_error: true}
""",
    "_toc.yml": """
format: jb-book
root: book/index
parts: [{chapters: [{file: book/good}, {file: book/bad}]}]
""",
    "book/index.md": "# Small\n\nWords.\n",
    "book/good.md": HEADER + "# Good\n\n```{code-cell}\nprint(6 * 7)\n```\n",
    "book/bad.md": HEADER
    + "# Bad\n\n```{code-cell}\na = 1\n```\n\n```{code-cell}\n# planted\n1 / 0\n```\n",
}


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A book of two chapters, one of which fails; return a function that builds it."""
    for name, text in PAGES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(build_book, "ROOT", tmp_path)
    monkeypatch.setattr(build_book, "EXTRACTION", tmp_path / "none")
    for name in ("ELKUTILS_PROFILE", "ELKUTILS_RESULTS", "OMP_NUM_THREADS"):
        monkeypatch.setenv(name, "book" if name == "ELKUTILS_PROFILE" else "1")
    return tmp_path, lambda *words: build_book.main(["--jobs", "2", *words])


def test_a_book_with_a_failing_chapter(small, capfd):
    root, build = small
    assert build() == 1
    said = capfd.readouterr().out
    assert "[2 of 2]" in said
    assert said.rstrip().split("\n")[-4:] == [
        "1 chapter FAILED:",
        "bad, code cell 2 of 2 (book/bad.md, line 13)",
        "    # planted",
        "  ZeroDivisionError: division by zero",
    ]
    assert not (root / "_build" / "html" / "index.html").exists()
    assert list(json.loads((root / "_build" / "seconds.json").read_text())) == ["good"]

    assert build("--chapter", "good") == 0  # from what was remembered
    said = capfd.readouterr().out
    assert "1 of 1 chapters are unchanged" in said
    assert "42" in (root / "_build" / "one" / "book" / "good.html").read_text()
    assert not (root / "_build" / "one" / "book" / "bad.html").exists()

    assert build() == 1  # fails again until it is mended
    assert "[1 of 1] bad starts" in capfd.readouterr().out
    bad = root / "book" / "bad.md"
    bad.write_text(bad.read_text().replace("1 / 0", "1 / 1"))
    assert build() == 0
    assert (root / "_build" / "html" / "book" / "bad.html").is_file()

    index = root / "book" / "index.md"
    index.write_text(index.read_text() + "\n[Gone](gone.md)\n")
    assert build() == 1
    last = capfd.readouterr().out.rstrip().split("\n")[-1]
    assert "WARNING" in last, "what fails the build stands last"
    assert "gone.md" in last
