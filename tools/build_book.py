"""Build the book: extract the shared activations, execute the chapters, write the pages.

Run through ``make book``. A chapter that fails, a warning or a reference that leads nowhere
fails the build, and fails it again until it is mended: every build reads all pages afresh,
and only what a cell's code gave is remembered between builds (book/_ext says by what key).
Chapters are executed before Sphinx reads them (tools/chapters.py); it only writes pages.
"""

import argparse
import io
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from chapters import (
    Chapter,
    Failure,
    Memory,
    Outcome,
    execute_all,
    expected_seconds,
    page_named,
    read_chapters,
    report_failures,
)
from executed_twins import Twins
from jupyter_book.config import get_final_config
from nbformat import reads
from sphinx.application import Sphinx
from sphinx.cmd.build import handle_exception
from sphinx.util.console import nocolor
from sphinx.util.docutils import docutils_namespace, patch_docutils

from elkutils.files import atomic_path

ROOT = Path(__file__).resolve().parent.parent
# Neither says so itself: one numbers the contents before reading, one only serves LaTeX.
PARALLEL_SAFE = ("sphinx_multitoc_numbering", "sphinx_jupyterbook_latex")
EXTRACTION = ROOT / "tools" / "extract_activations.py"
SHOWN = {"pdb": False, "verbosity": 0, "traceback": True}


def main(words: list[str] | None = None) -> int:
    args = parse_arguments(words)
    try:
        page = page_named(ROOT, args.chapter) if args.chapter else None
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    output = folder_of(args)
    set_environment(args.profile, output)
    html = output / ("one" if page else "html")
    doctrees = output / f".doctrees-{html.name}"
    shutil.rmtree(doctrees, ignore_errors=True)
    app, warnings = None, Heard()
    if not sys.stdout.isatty():
        nocolor()  # a log file keeps its lines: no colours, no carriage returns
    with patch_docutils(), docutils_namespace():
        try:
            app = application(html, doctrees, args.jobs, warnings)
            work = Work(app, output, page, args)
            failures = work.execute()
            status = 1 if failures else work.render() if args.pages else 0
        except Exception as error:  # what Sphinx raises is shown as its own command shows it
            handle_exception(app, argparse.Namespace(**SHOWN), error)
            print("The book was NOT built.")
            return 2
    print(work.report())
    index = html / (f"{page}.html" if page else "index.html")
    if status:
        print("The book was NOT built.")
        print("\n".join(warnings.lines), end="\n" if warnings.lines else "")
    elif args.pages:
        print(f"The {'page' if page else 'book'} is at {index}")
    if failures:
        print(report_failures(failures))
    return status


def parse_arguments(words: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    profile = os.environ.get("ELKUTILS_PROFILE", "book")
    parser.add_argument("--profile", choices=("quick", "book", "full"), default=profile)
    parser.add_argument(
        "--output", type=Path, help="folder of html and results; _build, or _build/PROFILE"
    )
    parser.add_argument("--jobs", type=int, default=2, help="chapters executed at a time")
    parser.add_argument("--chapter", help="build this chapter alone, into OUTPUT/one")
    parser.add_argument(
        "--twins",
        action="store_true",
        help="execute the chapters' notebooks as Colab would, on quick; into _build/twins",
    )
    parser.add_argument(
        "--no-pages", dest="pages", action="store_false", help="execute, and write no page"
    )
    args = parser.parse_args(words)
    if args.twins:
        args.profile = "quick"
    return args


def folder_of(args: argparse.Namespace) -> Path:
    """Return the folder that a build writes into."""
    name = "twins" if args.twins else "" if args.profile == "book" else args.profile
    return (args.output or ROOT / "_build" / name).resolve()


def set_environment(profile: str, output: Path) -> None:
    """Say to this process and its kernels how much to do and where results belong."""
    os.environ["ELKUTILS_PROFILE"] = profile
    os.environ["ELKUTILS_RESULTS"] = str(output / "results")
    os.environ.setdefault("ELKUTILS_CACHE", str(ROOT / "_build" / "cache"))
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


class Heard(io.TextIOBase):
    """What Sphinx warns of: it is printed at once, and kept for the end."""

    def __init__(self):
        self.lines: list[str] = []

    def write(self, text: str) -> int:
        """Print the text, and keep it if there is something in it."""
        if text.strip():
            self.lines.append(text.rstrip("\n"))
        return sys.stderr.write(text)

    def flush(self) -> None:
        """Print at once."""
        sys.stderr.flush()

    def isatty(self) -> bool:
        """Return whether somebody watches."""
        return sys.stderr.isatty()


class Work:
    """One build: what is executed, what is written, and how long each part took.

    Parameters
    ----------
    app
        Sphinx, set up: its configuration says how pages are read and what is remembered where.
    output
        The folder that the build writes into.
    page
        The only page to build, or None for all.
    args
        The command line.
    """

    def __init__(self, app: Sphinx, output: Path, page: str | None, args):
        self.app, self.page, self.args = app, page, args
        settings = app.env.mystnb_config
        self.timeout = settings.execution_timeout
        self.memory = Memory(settings.execution_cache_path)
        self.chapters = read_chapters(ROOT, app.env.myst_config, settings)
        self.twins = Twins(ROOT, output / "executed") if args.twins else None
        self.recorded = output / "seconds.json"
        self.parts: dict[str, float] = {}

    def execute(self) -> list[Failure]:
        """Execute the chapters that are not remembered; return those that failed."""
        wanted = [c for c in self.chapters if self.page in (None, c.page)]
        missing = [c for c in wanted if not self.is_remembered(c)]
        print(
            f"{len(wanted) - len(missing)} of {len(wanted)} chapters are unchanged, "
            f"{len(missing)} to execute, {self.args.jobs} at a time",
            flush=True,
        )
        if not missing:
            return []
        if self.page is None:  # one chapter reads for itself what it needs
            self._timed("activations", extract_activations)
        # One thread a kernel: two chapters run at once, and sums come out in one order.
        os.environ.setdefault("OMP_NUM_THREADS", "1")
        return self._timed("chapters", self._execute, missing)

    def is_remembered(self, chapter: Chapter) -> bool:
        """Return whether the chapter, and its twin where twins are run, was executed before."""
        known = self.memory.seconds(chapter) is not None
        return known and (self.twins is None or self.twins.is_executed(chapter))

    def _execute(self, chapters: list[Chapter]) -> list[Failure]:
        by_name = {chapter.name: chapter for chapter in chapters}

        def finished(name: str, outcome: Outcome) -> None:
            executed = reads(outcome.notebook, as_version=4)
            if self.twins:
                executed = self.twins.keep(by_name[name], executed)
            self.memory.keep(by_name[name], executed, outcome.seconds)
            note_seconds(self.recorded, name, outcome.seconds)

        options = {
            "jobs": self.args.jobs,
            "expected": expected_seconds(self.recorded, self.args.profile),
            "finished": finished,
            "timeout": self.timeout,
        }
        if self.twins:
            return self.twins.execute(chapters, **options)
        return execute_all([(c.name, c.notebook) for c in chapters], **options)

    def render(self) -> int:
        """Write the pages, or the one page; return the exit status."""
        return self._timed("pages", self._render)

    def _render(self) -> int:
        if self.page is None:
            self.app.build()
            return self.app.statuscode
        unknown = [c.page for c in self.chapters if not self.is_remembered(c)]
        # What those pages would show is missing, and so is what refers to their figures.
        self.app.keep_going = not unknown
        self.app.env.mystnb_config = self.app.env.mystnb_config.copy(
            execution_excludepatterns=[f"{page}.md" for page in unknown]
        )
        self.app.builder.search = False  # its index would lack the other pages
        self.app.build(filenames=[str(ROOT / f"{self.page}.md")])
        if unknown:
            print("Not executed yet, so warnings did not count:", *map(Path, unknown))
        return self.app.statuscode

    def _timed(self, part: str, do, *args):
        start = time.monotonic()
        try:
            return do(*args)
        finally:
            self.parts[part] = time.monotonic() - start

    def report(self) -> str:
        """Return the table of seconds that ends a build."""
        known = {c.page: self.memory.seconds(c) for c in self.chapters}
        known = {page: seconds for page, seconds in known.items() if seconds is not None}
        lines = [f"{seconds:8.1f} s  {page}" for page, seconds in known.items()]
        total = sum(known.values())
        lines.append(f"{total:8.1f} s  all chapters, each when it was last executed")
        lines += [
            f"{seconds:8.1f} s  {part}, in this build" for part, seconds in self.parts.items()
        ]
        return "\n".join(lines)


def extract_activations() -> None:
    """Fill the cache that the chapters share, with all cores, before they run side by side."""
    if not EXTRACTION.exists():
        return
    print("Reading off the models what the chapters share", flush=True)
    environment = dict(os.environ)
    if not sys.stderr.isatty():  # a log file needs no bar that moves
        environment.setdefault("TQDM_MININTERVAL", "3600")
    subprocess.run([sys.executable, str(EXTRACTION)], cwd=ROOT, check=True, env=environment)


def note_seconds(path: Path, name: str, seconds: float) -> None:
    """Add a chapter's seconds to those of earlier builds."""
    known = json.loads(path.read_text("utf-8")) if path.exists() else {}
    with atomic_path(path) as scratch:
        scratch.write_text(json.dumps(known | {name: round(seconds, 1)}, indent=1) + "\n")


def application(html: Path, doctrees: Path, jobs: int, warnings: Heard) -> Sphinx:
    """Return Sphinx set up as the jupyter-book command does, but strict and in parallel."""
    overrides = {
        "external_toc_path": str(ROOT / "_toc.yml"),
        "latex_individualpages": False,
        "nitpicky": True,
    }
    config, _ = get_final_config(
        user_yaml=ROOT / "_config.yml",
        cli_config=overrides,
        sourcedir=ROOT,
        use_external_toc=True,
    )
    app = Sphinx(
        srcdir=ROOT,
        confdir=None,
        outdir=html,
        doctreedir=doctrees,
        buildername="html",
        confoverrides=config,
        warningiserror=True,
        keep_going=True,
        parallel=jobs,
        warning=warnings,
    )
    app.setup_extension("sphinx_multitoc_numbering")
    for name in PARALLEL_SAFE:
        app.extensions[name].parallel_read_safe = True
    return app


if __name__ == "__main__":
    sys.exit(main())
