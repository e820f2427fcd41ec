"""What is asked: tasks made of true and false statements, in named splits with groups.

`cities`, `comparisons` and `elements` make statements whose truth is known; `load_csv` and
`load_table` read your own. `elkutils.tasks.vault` is a world made of tokens instead, in which
the truth is known even where nobody could see it, and `elkutils.tasks.rules` has worlds whose
hypotheses can be listed. Nothing here needs a language model.
"""

from elkutils.tasks.reading import load_csv, load_table
from elkutils.tasks.statements import cities, comparisons, elements
from elkutils.tasks.task import Split, Task

__all__ = ["Split", "Task", "cities", "comparisons", "elements", "load_csv", "load_table"]
