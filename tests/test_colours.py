import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotate.colours import DARK, WHITE, contrast, on_dark, on_white, shades

colour = st.integers(0, 0xFFFFFF).map(lambda n: f"#{n:06x}")


def test_contrast_is_what_wcag_says():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#ffffff", "#ffffff") == pytest.approx(1)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


def test_a_colour_that_stands_out_is_kept():
    assert on_white("#B4233A") == "#b4233a"
    assert on_dark("#ff8a95") == "#ff8a95"


def test_a_pale_colour_is_darkened_for_a_light_page_and_keeps_its_hue():
    red, green, blue = (int(on_white("#ffe000")[at : at + 2], 16) for at in (1, 3, 5))
    assert red > green > blue == 0


def test_shades_are_one_css_value():
    assert re.fullmatch(r"light-dark\(#[0-9a-f]{6},#[0-9a-f]{6}\)", shades("#6b6457"))


@given(colour)
def test_any_colour_can_be_read_on_both_pages(given_colour):
    assert contrast(on_white(given_colour), WHITE) >= 4.5
    assert contrast(on_dark(given_colour), DARK) >= 4.5
