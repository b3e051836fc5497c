"""Cells that a spreadsheet would run: guarded on the way out, and as they were when they come back."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from annotate.importing import delimited
from annotate.spreadsheets import guarded, restored

SIGNS = "=+-@\t\r\n＝＋－＠"


@given(st.text(st.sampled_from(SIGNS + "' a1\x00é")))
@example("'=1+1")
@example("''''=1+1")
def test_they_come_back_whole(cell):
    assert restored(guarded(cell)) == cell
    assert not guarded(cell).startswith(tuple(SIGNS))


@pytest.mark.parametrize("cell", ["", "gm", "'tis", "a=b", "1-2", " =1", "''", "it's -5"])
def test_what_nobody_runs_is_left_alone(cell):
    assert guarded(cell) == restored(cell) == cell


def test_a_table_that_is_not_ours_keeps_its_apostrophes(tmp_path):
    theirs, ours = tmp_path / "theirs.csv", tmp_path / "ours.csv"
    theirs.write_text("id,text\n1,'@somebody said\n")
    ours.write_text("id,text,label_source,split,group,'=v_vote\n1,'@somebody said,review,train,1,\n")
    assert [record for _, record in delimited.read(theirs)] == [{"id": "1", "text": "'@somebody said"}]
    [(_, record)] = delimited.read(ours)
    assert (record["text"], list(record)[-1]) == ("@somebody said", "=v_vote")
    assert delimited.headers(ours)[-1] == "=v_vote"
