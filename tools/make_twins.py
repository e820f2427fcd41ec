"""Write every chapter's notebook twin beside it: `make notebooks`."""

import sys
from pathlib import Path

from twins import Book, make_twin

ROOT = Path(__file__).resolve().parent.parent


def main(root: Path = ROOT) -> int:
    book = Book(root)
    twins = {root / f"{page}.ipynb": make_twin(book, page) for page in book.twins}
    for path, text in twins.items():
        path.write_text(text, encoding="utf-8")
    for path in set((root / "book").glob("*.ipynb")) - set(twins):
        path.unlink()
    print(f"{len(twins)} notebooks written")
    return 0


if __name__ == "__main__":
    sys.exit(main())
