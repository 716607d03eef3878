"""The page's building blocks; whatever text is put into them is escaped."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

NOTHING = "-"  # where there is no figure, as in `tables.percent`


def section(title: str, intro: str, body: str = "") -> str:
    """A heading, a sentence for the reader, and a body that is markup already."""
    return f"<section><h2>{escape(title)}</h2><p>{escape(intro)}</p>{body}</section>"


def table(header: Sequence[str], rows: Sequence[str]) -> str:
    """A table of rows that are markup already."""
    head = "".join(f"<th scope='col'>{escape(name)}</th>" for name in header)
    return f"<div class='wide'><table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"


def row(cells: Sequence[str], kind: str = "") -> str:
    """A row whose first cell is its heading."""
    first, *others = cells
    values = "".join(f"<td>{escape(cell)}</td>" for cell in others)
    return f"<tr class='{kind}'><th scope='row'>{escape(first)}</th>{values}</tr>"


def note(text: str) -> str:
    """A remark in small letters."""
    return f"<p class='note'>{escape(text)}</p>"


def number(value: object, form: str, factor: float = 1.0) -> str:
    """A number in a format, `NOTHING` for anything else."""
    return format(factor * value, form) if isinstance(value, int | float) else NOTHING
