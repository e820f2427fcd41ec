"""Every directive and role becomes what Colab renders, and what cannot is refused."""

import base64

import pytest

SITE = "https://owner.github.io/name/book/"
IMAGE = base64.b64decode("iVBORw0KGgo=")


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("{term}`R-hat`", f"[R-hat]({SITE}glossary.html#term-R-hat)"),
        ("{term}`scales <prior scale>`", f"[scales]({SITE}glossary.html#term-prior-scale)"),
        ("{doc}`two`", f"[Is this two?]({SITE}two.html)"),
        ("{doc}`next <two>`", f"[next]({SITE}two.html)"),
        ("{ref}`there`", f"[A section]({SITE}two.html#there)"),
        ("{ref}`see <there>`", f"[see]({SITE}two.html#there)"),
        ("{eq}`two-eq`", f"[(2.1)]({SITE}two.html#equation-two-eq)"),
        ("[x](two.md)", f"[x]({SITE}two.html)"),
        ("[](two.md)", f"[Is this two?]({SITE}two.html)"),
        ("[x](two.md#there)", f"[x]({SITE}two.html#there)"),
        ("[](#there)", f"[A section]({SITE}two.html#there)"),
        ("[x](there)", f"[x]({SITE}two.html#there)"),
        ("[x](https://a.b/c)", "[x](https://a.b/c)"),
        ("{cite:p}`alone1999`", f"([Alone, 1999]({SITE}bibliography.html#cite-alone1999))"),
        ("{cite:t}`alone1999`", f"Alone ([1999]({SITE}bibliography.html#cite-alone1999))"),
        ("{math}`x^2`", "$x^2$"),
        ("{abbr}`ESS (effective sample size)`", "ESS (effective sample size)"),
        ("{sub}`2`", "<sub>2</sub>"),
        ("{py:func}`elkutils.f`", f"[`elkutils.f`]({SITE}api/all.html#elkutils.f)"),
        ("{py:func}`~elkutils.f`", f"[`f`]({SITE}api/all.html#elkutils.f)"),
        ("{py:mod}`elkutils.part`", f"[`elkutils.part`]({SITE}api/part.html#elkutils.part)"),
        ("{py:func}`~elkutils.part.g`", f"[`g`]({SITE}api/part.html#elkutils.part.g)"),
        ("`{term}` is code", "`{term}` is code"),
        ("$a_{b}`c`$ stays", "$a_{b}`c`$ stays"),
    ],
)
def test_inline(plain, written, expected):
    assert plain(f"Before {written} after.") == f"Before {expected} after."


def test_citation_of_two_and_of_many(plain):
    text = plain("{cite:p}`pair2001,many2002`")
    assert text.startswith("([Bürger and van Dyk, 2001](")
    assert "; [Many et al., 2002](" in text


def test_role_may_cross_a_line(plain):
    assert plain("{ref}`the\nsection <there>`") == f"[the section]({SITE}two.html#there)"


@pytest.mark.parametrize("fence", ["```", ":::", "::::"])
def test_admonition_becomes_a_quotation(plain, fence):
    text = plain(f"{fence}{{note}}\nOne {{math}}`x`.\n\nTwo.\n{fence}")
    assert text == "> **Note**\n>\n> One $x$.\n>\n> Two."


def test_admonition_keeps_its_title(plain):
    text = plain("```{admonition} What {math}`x` is\n:class: tip\nBody.\n```")
    assert text == "> **What $x$ is**\n>\n> Body."


def test_admonitions_nest(plain):
    text = plain("::::{note}\nOuter.\n\n:::{tip}\nInner.\n:::\n::::")
    assert "> > **Tip**\n> >\n> > Inner." in text


def test_dropdown_folds(plain):
    text = plain("```{dropdown} More\nBody.\n```")
    assert text == "<details>\n<summary>More</summary>\n\nBody.\n\n</details>"


@pytest.mark.parametrize(
    "written",
    [
        "$$\na = b\n$$ (loss)",
        "$$ a = b $$ (loss)",
        "```{math}\n:label: loss\na = b\n```",
        "```{math}\n:label: loss\n\\begin{equation} a = b \\end{equation}\n```",
    ],
)
def test_equation_keeps_its_number(plain, written):
    text = plain(f"{written}\n\nSee {{eq}}`loss`.")
    assert text.startswith("$$\na = b\n\\tag{1.1}\n$$\n")
    assert text.endswith(f"See [(1.1)]({SITE}one.html#equation-loss).")


def test_equations_without_labels_have_no_number(plain):
    assert plain("$$\na\n$$\n\n$$\nb\n$$ (l)") == "$$\na\n$$\n\n$$\nb\n\\tag{1.1}\n$$"


def test_environment_is_set_apart(plain):
    text = plain("\\begin{align}\na &= b\n\\end{align}")
    assert text == "$$\n\\begin{aligned}\na &= b\n\\end{aligned}\n$$"


def test_label_lines_and_comments_are_dropped(plain):
    assert plain("(here)=\n## Head\n\n% a comment\n\nText.") == "## Head\n\nText."


def test_code_fence_is_left_alone(plain):
    text = "```python\nx = '{term}`y`'\n(label)=\n```"
    assert plain(text) == text


def test_figure_caption_stands_under_its_cell(convert):
    cell = """```{code-cell} ipython3
---
mystnb:
  image: {alt: A line}
  figure: {caption: "A {term}`R-hat` line.", name: fig}
---
draw()
```

See {numref}`fig` and {numref}`Picture %s <fig>`."""
    code, caption, text = convert(cell).cells[2:]
    assert code.source == "draw()"
    assert code.metadata == {}
    assert caption.source.startswith("**Figure 1.1.** A [R-hat](")
    assert (
        text.source
        == f"See [Figure 1.1]({SITE}one.html#fig) and [Picture 1.1]({SITE}one.html#fig)."
    )


def test_tags_of_hidden_cells_are_dropped(convert):
    (cell,) = convert("```{code-cell} ipython3\n:tags: [hide-input]\nx = 1\n```").cells[2:]
    assert (cell.source, cell.metadata) == ("x = 1", {})


@pytest.mark.parametrize("directive", ["image", "figure"])
def test_image_is_embedded(plain, tmp_path, directive):
    (tmp_path / "book").mkdir()
    (tmp_path / "book" / "dot.png").write_bytes(IMAGE)
    text = plain(f"```{{{directive}}} dot.png\n:alt: A dot\n```")
    assert text == "![A dot](data:image/png;base64,iVBORw0KGgo=)"


def test_exercise_becomes_a_heading(plain):
    text = plain("```{exercise} Sums\n:label: sums\n\nAdd.\n```\n\n{ref}`sums`")
    assert text.startswith("### Exercise 1.1 (Sums)\n\nAdd.")
    assert text.endswith(f"[Exercise 1.1]({SITE}one.html#sums)")


def test_solution_is_folded_in_words_and_code(convert):
    words, code, more, after = convert("""```{exercise}
:label: e
Do.
```

```{solution-start} e
:class: dropdown
```

Think.

```{code-cell} ipython3
print(6 * 7)
```

Done.

```{solution-end}
```

After.""").cells[3:]
    assert words.source.startswith(
        "<details>\n<summary>Solution to exercise 1.1</summary>\n\nThink."
    )
    assert code.source == "# @title Solution to exercise 1.1\nprint(6 * 7)"
    assert code.metadata == {"cellView": "form"}
    assert "<details>" in more.source
    assert after.source == "After."


def test_solution_in_one_piece_is_folded(plain):
    text = plain("```{exercise}\n:label: e\nDo.\n```\n\n```{solution} e\nDone.\n```")
    assert text.endswith("<summary>Solution to exercise 1.1</summary>\n\nDone.\n\n</details>")


def test_table_keeps_its_caption(plain):
    text = plain("```{table} Sizes\n| a |\n| --- |\n| {math}`b` |\n```")
    assert text == "**Table 1.1.** Sizes\n\n| a |\n| --- |\n| $b$ |"


def test_list_table_becomes_a_table(plain):
    text = plain("```{list-table}\n:header-rows: 1\n* - a\n  - b\n* - 1\n  - 2\n```")
    assert text == "| a | b |\n| --- | --- |\n| 1 | 2 |"


def test_bibliography_lists_what_the_page_cites(plain):
    text = plain("{cite:p}`pair2001`\n\n```{bibliography}\n:filter: docname in docnames\n```")
    assert "Bürger" in text.split("\n\n")[1]
    assert "Alone" not in text


def test_directive_in_a_list_stays_in_it(plain):
    text = plain("- item\n\n  $$\n  a\n  $$\n\n- next")
    assert "\n  $$\n  a\n  $$\n" in text


@pytest.mark.parametrize(
    "written",
    [
        "```{eval-rst}\nx\n```",
        "{glue:}`x`",
        "{term}`no such`",
        "{ref}`no-such`",
        "[x](#no-such)",
    ],
)
def test_what_colab_cannot_show_is_refused(convert, written):
    with pytest.raises(ValueError, match="book/one"):
        convert(written)


def test_first_cells_are_title_links_and_set_up(convert):
    title, setup = convert("Text.").cells[:2]
    assert title.source.startswith("# Is this one?")
    assert f"({SITE}one.html)" in title.source
    assert (
        "colab.research.google.com/github/owner/name/blob/main/book/one.ipynb" in title.source
    )
    assert "git+https://github.com/owner/name@v1.2.3" in setup.source


def test_title_stands_once(convert):
    assert sum("Is this one?" in cell.source for cell in convert("Text.").cells) == 1
