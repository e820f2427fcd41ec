"""Execute the book's chapters, longest first, and say what is happening.

`Schedule` chooses the order and counts the time left; `execute_all` runs chapters side by side,
each in a process with a kernel of its own, and prints one line when a chapter starts and one
when it ends; `Failure` says what a reader of the terminal needs to mend a chapter.
"""

import json
import re
import resource
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import FIRST_COMPLETED, Executor, ProcessPoolExecutor, wait
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import nbformat
import yaml
from jupyter_cache import get_cache
from jupyter_cache.base import CacheBundleIn
from myst_nb.core.read import create_nb_reader, is_myst_markdown_notebook
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode

COLOURS = re.compile(r"\x1b\[[0-9;]*m")
# Until a build here has measured them: for *book* what the chapters promise, for *quick* what
# their notebooks took of a processor.
PROMISED = Path(__file__).with_name("seconds.json")


def chapter_pages(root: Path) -> list[str]:
    """Return the pages that are executed, in the order of the contents."""
    toc = yaml.safe_load((root / "_toc.yml").read_text("utf-8"))
    parts = [chapter["file"] for part in toc["parts"] for chapter in part["chapters"]]
    return [
        page
        for page in [toc["root"], *parts]
        if is_myst_markdown_notebook((root / f"{page}.md").read_text("utf-8"))
    ]


def page_named(root: Path, name: str) -> str:
    """Return the page of the chapter with this name.

    Raises
    ------
    ValueError
        If no chapter has the name. The message lists all names.
    """
    pages = {Path(page).name: page for page in chapter_pages(root)}
    if name not in pages:
        raise ValueError(f"CHAPTER is {name!r}; it has to be one of {', '.join(pages)}")
    return pages[name]


@dataclass(frozen=True)
class Chapter:
    """A page to execute, cut into cells as Sphinx cuts it."""

    page: str
    notebook: NotebookNode

    @property
    def name(self) -> str:
        """The last part of the page's path."""
        return Path(self.page).name


def read_chapters(root: Path, md_config, nb_config) -> list[Chapter]:
    """Return the chapters in the order of the contents, read with Sphinx's configuration."""
    chapters = []
    for page in chapter_pages(root):
        path = root / f"{page}.md"
        text = path.read_text("utf-8")
        reader = create_nb_reader(str(path), md_config, nb_config, text)
        chapters.append(Chapter(page, reader.read(text)))
    return chapters


class Memory:
    """What was executed before, by the code of a chapter's cells; Sphinx reads the same."""

    def __init__(self, folder: str | Path):
        self._cache = get_cache(str(folder))

    def seconds(self, chapter: Chapter) -> float | None:
        """Return the seconds that a remembered chapter took, or None if it is not there."""
        try:
            record = self._cache.match_cache_notebook(chapter.notebook)
        except KeyError:
            return None
        return record.data.get("execution_seconds", 0.0)

    def keep(self, chapter: Chapter, executed: NotebookNode, seconds: float) -> None:
        """Remember what the cells of a chapter gave: those of `executed`, cell by cell."""
        kept = deepcopy(chapter.notebook)  # whose cells are found again, whatever ran them
        kept.metadata["language_info"] = executed.metadata["language_info"]
        for cell, ran in zip(code_cells(kept), code_cells(executed), strict=True):
            cell.outputs, cell.execution_count = ran.outputs, ran.execution_count
        data = {"execution_seconds": seconds}
        bundle = CacheBundleIn(kept, f"{chapter.page}.md", data=data)
        self._cache.cache_notebook_bundle(bundle, check_validity=False, overwrite=True)


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    """Return a notebook's code cells."""
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


@dataclass(frozen=True)
class Kernel:
    """What executes a notebook.

    Attributes
    ----------
    name
        The kernel's name; "" for the one that the notebook asks for.
    environment
        Its environment variables; None for this process's.
    """

    name: str = ""
    environment: Mapping[str, str] | None = None


@dataclass(frozen=True)
class Failure:
    """Where and how a chapter failed."""

    chapter: str
    place: str
    line: str
    error: str
    traceback: str = ""

    def __str__(self) -> str:
        return f"{self.chapter}, {self.place}\n    {self.line}\n  {self.error}"


@dataclass(frozen=True)
class Outcome:
    """An executed notebook as JSON, seconds on the clock and of the processor."""

    notebook: str
    seconds: float
    processor: float
    failure: Failure | None = None


def execute(name: str, text: str, timeout: float | None, kernel: Kernel) -> Outcome:
    """Execute one notebook, given as JSON, in an empty folder."""
    notebook = nbformat.reads(text, as_version=4)
    at = {"index": 0}
    options = {"kernel_name": kernel.name} if kernel.name else {}
    given = {} if kernel.environment is None else {"env": dict(kernel.environment)}
    start, before, failure = time.monotonic(), _processor(), None
    with TemporaryDirectory() as folder:
        client = NotebookClient(
            notebook,
            timeout=timeout,
            resources={"metadata": {"path": folder}},
            on_cell_execute=lambda cell, cell_index: at.update(index=cell_index),
            **options,
        )
        try:
            client.execute(**given)
        except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
            failure = describe(name, notebook, at["index"], error)
    seconds, processor = time.monotonic() - start, _processor() - before
    return Outcome(nbformat.writes(notebook), seconds, processor, failure)


def _processor() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def describe(name: str, notebook: NotebookNode, index: int, error: Exception) -> Failure:
    """Return what to say of an error in the cell at this index."""
    code = [i for i, cell in enumerate(notebook.cells) if cell.cell_type == "code"]
    place = f"code cell {code.index(index) + 1} of {len(code)}"
    lines = notebook.metadata.get("source_map")
    if lines:
        place += f" (book/{name}.md, line {lines[index] + 1})"
    source = notebook.cells[index].source.strip()
    if isinstance(error, CellExecutionError):
        said = f"{error.ename}: {error.evalue}"
    elif isinstance(error, CellTimeoutError):
        said = f"{type(error).__name__}: the cell took longer than its timeout"
    else:
        said = f"{type(error).__name__}: the kernel died; is there enough memory?"
    first = source.partition("\n")[0]
    return Failure(name, place, first, COLOURS.sub("", said), str(error))


@dataclass
class Schedule:
    """Which chapter is next, and about how long the rest takes.

    Attributes
    ----------
    waiting
        Names of the chapters to execute, the longest first.
    jobs
        Chapters executed at a time.
    expected
        Seconds by name. A chapter that is missing is taken to need the median of all.
    """

    waiting: list[str]
    jobs: int
    expected: Mapping[str, float]
    running: dict[str, float] = field(default_factory=dict)
    _measured: list[tuple[float, float]] = field(default_factory=list)

    def __post_init__(self):
        self._known = bool(self.expected)
        usual = median(self.expected.values()) if self._known else 1.0
        self.expected = {name: self.expected.get(name, usual) for name in self.waiting}
        self.waiting = sorted(self.waiting, key=lambda name: -self.expected[name])

    def start(self, now: float) -> str:
        """Return the next chapter, which starts now."""
        name = self.waiting.pop(0)
        self.running[name] = now
        return name

    def end(self, name: str, now: float) -> float:
        """Return the seconds that a chapter took, which ends now."""
        seconds = now - self.running.pop(name)
        self._measured.append((seconds, self.expected[name]))
        return seconds

    def left(self, now: float) -> float | None:
        """Return about how many seconds are left, or None if nothing is known."""
        if not (self._measured or self._known):
            return None
        taken, expected = map(sum, zip(*self._measured or [(1.0, 1.0)], strict=True))
        pace = taken / expected  # of this machine today
        costs = {name: pace * seconds for name, seconds in self.expected.items()}
        ends = [max(costs[name] - now + start, 0.0) for name, start in self.running.items()]
        ends += [0.0] * (self.jobs - len(ends))
        for name in self.waiting:
            first = ends.index(min(ends))
            ends[first] += costs[name]
        return max(ends)


def in_words(seconds: float | None) -> str:
    """Return a time left as words.

    >>> in_words(340.0)
    'about 6 min left'
    """
    if seconds is None:
        return "time left not known yet"
    return f"about {seconds / 60:.0f} min left" if seconds >= 90 else "under 2 min left"


def execute_all(
    chapters: Iterable[tuple[str, NotebookNode]],
    jobs: int,
    expected: Mapping[str, float],
    finished: Callable[[str, Outcome], None],
    timeout: float | None = None,
    kernel: Kernel | None = None,
    say: Callable[[str], None] = lambda line: print(line, flush=True),
    pool: Executor | None = None,
) -> list[Failure]:
    """Execute notebooks side by side; return the failures, in the order they happened.

    Parameters
    ----------
    chapters
        Name and notebook of each.
    jobs
        Chapters executed at a time.
    expected
        Seconds by name, from an earlier run.
    finished
        Is called with name and outcome when a chapter ends without an error.
    timeout
        Seconds per cell; None for no limit.
    kernel
        What executes them; by default the kernel that each asks for.
    say
        Prints one line.
    pool
        Where they are executed; by default `jobs` processes.
    """
    notebooks = dict(chapters)
    plan = Schedule(list(notebooks), jobs, expected)
    count, total, failures, tasks = 0, len(notebooks), [], {}
    with pool or ProcessPoolExecutor(jobs) as pool:
        while plan.waiting or tasks:
            while plan.waiting and len(tasks) < jobs:
                now, count = time.monotonic(), count + 1
                name = plan.start(now)
                say(f"[{count} of {total}] {name} starts, {in_words(plan.left(now))}")
                text = nbformat.writes(notebooks[name])
                tasks[pool.submit(execute, name, text, timeout, kernel or Kernel())] = name
            done, _ = wait(tasks, return_when=FIRST_COMPLETED)
            for task in done:
                name = tasks.pop(task)
                seconds = plan.end(name, time.monotonic())
                outcome = task.result()
                spent = f"{seconds:.0f} s ({outcome.processor:.0f} s of processor)"
                if outcome.failure:
                    failures.append(outcome.failure)
                    say(f"    {name} FAILED after {spent}\n{plain(outcome.failure.traceback)}")
                else:
                    finished(name, outcome)
                    say(f"    {name} took {spent}")
    return failures


def plain(text: str) -> str:
    """Return text without colours where nobody sees them."""
    return text if sys.stdout.isatty() else COLOURS.sub("", text)


def report_failures(failures: list[Failure]) -> str:
    """Return what stands last on the screen: chapter, cell and error of each failure."""
    count = f"{len(failures)} chapter{'s' if len(failures) > 1 else ''} FAILED"
    return "\n".join([f"\n{count}:", *map(str, failures)])


def expected_seconds(recorded: Path, profile: str) -> dict[str, float]:
    """Return seconds by chapter: those of the last build, else those that chapters promise."""
    promised = json.loads(PROMISED.read_text("utf-8")).get(profile, {})
    return promised | (json.loads(recorded.read_text("utf-8")) if recorded.exists() else {})
