"""Run the chapters' notebooks as Colab runs them, and give their outputs to the book.

A twin has its chapter's cells after a set-up cell of its own. Run by itself, in an empty
folder, with the built wheel alone, it shows that it runs in Colab and executes the chapter too.
"""

import os
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

import nbformat
from chapters import Chapter, Failure, Kernel, code_cells, execute_all
from colab import KERNEL, build_wheel, make_colab
from filelock import FileLock
from nbformat import NotebookNode

from elkutils.files import atomic_path

# Added at the end of each: what it ran with. The tests of the twins read it.
WHERE = """
import elkutils, json, os, sys
print(json.dumps([elkutils.__file__, os.getcwd(), sorted(os.listdir()), sys.path]))
""".strip()


class Twins:
    """The notebooks beside the chapters, and where the executed ones are kept."""

    def __init__(self, root: Path, folder: Path):
        self.root, self.folder = root, folder

    def notebook(self, chapter: Chapter) -> NotebookNode:
        """Return a chapter's twin, with a last cell that shows what it ran with.

        Raises
        ------
        ValueError
            If the twin's cells are not the chapter's.
        """
        twin = nbformat.read(self.root / f"{chapter.page}.ipynb", as_version=4)
        if [without_title(s) for s in sources(twin)[1:]] != sources(chapter.notebook):
            raise ValueError(
                f"{chapter.page}.ipynb is not the twin of {chapter.page}.md: `make notebooks`"
            )
        twin.cells.append(nbformat.v4.new_code_cell(WHERE))
        return twin

    def path(self, chapter: Chapter) -> Path:
        """Return where the executed twin is kept."""
        return self.folder / f"{chapter.name}.ipynb"

    def is_executed(self, chapter: Chapter) -> bool:
        """Return whether the twin as it is now was executed before."""
        path = self.path(chapter)
        if not path.exists():
            return False
        return sources(nbformat.read(path, as_version=4)) == sources(self.notebook(chapter))

    def execute(self, chapters: list[Chapter], **options) -> list[Failure]:
        """Execute the twins of chapters; options are those of `execute_all`."""
        for chapter in chapters:
            self.path(chapter).unlink(missing_ok=True)
        notebooks = [(chapter.name, self.notebook(chapter)) for chapter in chapters]
        lock = FileLock(self.root / "_build" / "twin-env.lock")
        with TemporaryDirectory() as folder, lock:
            wheel = build_wheel(self.root, Path(folder))
            colab = make_colab(self.root, wheel, Path(folder))
            os.environ["JUPYTER_PATH"] = folder  # where the kernel is described
            # Once alone: two that install at the same time would write the same files.
            set_up = sources(notebooks[0][1])[0]
            command = [str(colab.python), "-c", set_up]
            subprocess.run(command, cwd=folder, env=colab.environment, check=True)
            return execute_all(notebooks, kernel=Kernel(KERNEL, colab.environment), **options)

    def keep(self, chapter: Chapter, twin: NotebookNode) -> NotebookNode:
        """Keep an executed twin; return it with the chapter's own cells alone."""
        with atomic_path(self.path(chapter)) as scratch:
            nbformat.write(twin, scratch)
        cells = code_cells(twin)[1:-1]
        for cell in cells:
            cell.execution_count -= 1  # the set-up cell was the first
        return nbformat.v4.new_notebook(cells=cells, metadata=twin.metadata)


def sources(notebook: NotebookNode) -> list[str]:
    """Return the code of a notebook's cells."""
    return [cell.source.strip() for cell in code_cells(notebook)]


def without_title(source: str) -> str:
    """Return a cell's code without the title that Colab shows in its place."""
    first, _, rest = source.partition("\n")
    return rest if first.startswith("# @title") else source
