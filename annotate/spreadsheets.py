"""Pure: a stranger's words in a cell that a spreadsheet would take for a formula and run.

An apostrophe before them makes them words. Taking one away again gives them back exactly, also those that began with an
apostrophe and a sign themselves.
"""

import re

# Also after apostrophes, so that the inverse is one; and full-width signs, which some spreadsheets read as plain ones.
FORMULA = re.compile("'*[=+\\-@\t\r\n＝＋－＠]")
GUARDED = re.compile("'+[=+\\-@\t\r\n＝＋－＠]")


def guarded(cell: str) -> str:
    return f"'{cell}" if FORMULA.match(cell) else cell


def restored(cell: str) -> str:
    return cell[1:] if GUARDED.match(cell) else cell
