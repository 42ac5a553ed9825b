"""The sentences and the open tables of a page as Markdown, for a README."""

from __future__ import annotations

from nnunet_ext.evaluation.report.page import Page, Table, Text


def markdown(page: Page) -> str:
    r"""Title, lead, and of every section what is neither folded away nor a picture.

    Example:
        >>> from nnunet_ext.evaluation.report.page import Section
        >>> print(markdown(Page("T", ["Said."], [Section("S", [Table(["a", "b|"], [["x", 0.5]])])])))
        # T
        <BLANKLINE>
        Said.
        <BLANKLINE>
        ## S
        <BLANKLINE>
        | a | b\| |
        | --- | ---: |
        | x | 0.5000 |
        <BLANKLINE>
    """
    blocks = [f"# {page.title}", *page.lead]
    for section in page.sections:
        shown = []
        for part in section.parts:
            if isinstance(part, Table) and not part.folded:
                shown += [_table(part), part.note]
            elif isinstance(part, Text) and not part.folded:
                shown.append("\n".join(f"- {sentence}" for sentence in part.sentences))
        if shown:
            blocks += [f"## {section.title}", *(block for block in shown if block)]
    return "\n\n".join(blocks) + "\n"


def _table(table: Table) -> str:
    rules = ["---:" if is_number else "---" for is_number in table.is_number]
    rows = [table.columns, rules, *table.texts]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows)
