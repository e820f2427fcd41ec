"""Build the book: extract the shared activations, execute the chapters, write the pages.

Run through ``make book``. A chapter that fails, a warning or a reference that leads nowhere
fails the build, and fails it again until it is mended: every build reads all pages afresh,
and only what a cell's code gave is remembered between builds (book/_ext says by what key).
"""

import argparse
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from jupyter_book.config import get_final_config
from sphinx.application import Sphinx
from sphinx.cmd.build import handle_exception
from sphinx.util.docutils import docutils_namespace, patch_docutils

ROOT = Path(__file__).resolve().parent.parent
# Neither says so itself: one numbers the contents before reading, one only serves LaTeX.
PARALLEL_SAFE = ("sphinx_multitoc_numbering", "sphinx_jupyterbook_latex")
EXTRACTION = ROOT / "tools" / "extract_activations.py"


def main() -> int:
    args = parse_arguments()
    output = args.output or ROOT / "_build" / ("" if args.profile == "book" else args.profile)
    set_environment(args.profile, output.resolve())
    start = time.monotonic()
    extract_activations()
    extracted = time.monotonic()
    status, runtimes = build(output.resolve(), args.jobs)
    print(report(runtimes, extracted - start, time.monotonic() - extracted))
    index = output / "html" / "index.html"
    print("The book was NOT built." if status else f"The book is at {index}")
    return status


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    profile = os.environ.get("ELKUTILS_PROFILE", "book")
    parser.add_argument("--profile", choices=("quick", "book", "full"), default=profile)
    parser.add_argument(
        "--output", type=Path, help="folder of html and results; _build, or _build/PROFILE"
    )
    parser.add_argument("--jobs", type=int, default=2, help="chapters executed at a time")
    return parser.parse_args()


def set_environment(profile: str, output: Path) -> None:
    """Say to this process and its kernels how much to do and where results belong."""
    os.environ["ELKUTILS_PROFILE"] = profile
    os.environ["ELKUTILS_RESULTS"] = str(output / "results")
    os.environ.setdefault("ELKUTILS_CACHE", str(ROOT / "_build" / "cache"))
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


def extract_activations() -> None:
    """Fill the cache that the chapters share, with all cores, before they run side by side."""
    if EXTRACTION.exists():
        subprocess.run([sys.executable, str(EXTRACTION)], cwd=ROOT, check=True)


def build(output: Path, jobs: int) -> tuple[int, dict[str, float]]:
    """Write the pages into ``output/html``; return the exit status and seconds by chapter."""
    # One thread a kernel: two chapters run at once, and sums come out in one order.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    doctrees = output / ".doctrees"
    shutil.rmtree(doctrees, ignore_errors=True)
    app = None
    with patch_docutils(), docutils_namespace():
        try:
            app = application(output / "html", doctrees, jobs)
            app.build()
        except Exception as error:  # what Sphinx raises is shown as its own command shows it
            handle_exception(app, argparse.Namespace(**SHOWN), error)
            return 2, {}
    return app.statuscode, dict(runtimes_of(app))


SHOWN = {"pdb": False, "verbosity": 0, "traceback": True}


def application(html: Path, doctrees: Path, jobs: int) -> Sphinx:
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
    )
    app.setup_extension("sphinx_multitoc_numbering")
    for name in PARALLEL_SAFE:
        app.extensions[name].parallel_read_safe = True
    return app


def runtimes_of(app: Sphinx):
    """Yield each executed page and the seconds its cells took, now or when last executed."""
    for page, metadata in sorted(app.env.nb_metadata.items()):
        runtime = (metadata.get("exec_data") or {}).get("runtime")
        if runtime is not None:
            yield page, runtime


def report(runtimes: dict[str, float], extraction: float, pages: float) -> str:
    """Return the table of seconds that ends a build."""
    lines = [f"{seconds:8.1f} s  {page}" for page, seconds in runtimes.items()]
    lines += [
        f"{sum(runtimes.values()):8.1f} s  all chapters, each when it was last executed",
        f"{extraction:8.1f} s  activations, in this build",
        f"{pages:8.1f} s  chapters and pages, in this build",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
