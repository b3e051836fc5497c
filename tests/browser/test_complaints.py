"""The `page` of conftest.py: what the console says in red reaches the test."""

import pytest
from django.urls import reverse

STYLED = "document.body.insertAdjacentHTML('beforeend', '<p style=\"color: red\">')"
ELSEWHERE = "document.body.append(Object.assign(new Image(), {src: 'http://example.org/pixel.png'}))"


@pytest.mark.parametrize(
    ("script", "complaint"),
    [
        ("console.error('this is wrong')", "this is wrong"),
        ("setTimeout(() => { throw new Error('lost') })", "Uncaught: lost"),
        (STYLED, "Content-Security-Policy: style-src-attr"),
        (ELSEWHERE, "Content-Security-Policy: img-src"),
    ],
)
def test_it_hears_what_the_page_complains_of(page, complaints, script, complaint):
    page.goto(reverse("login"))
    page.evaluate(f"() => {{ {script} }}")
    page.wait_for_timeout(100)
    assert complaint in "\n".join(complaints)
    complaints.clear()


def test_it_finds_what_not_everybody_can_read(page, axe):
    page.goto(reverse("login"))
    page.evaluate("document.querySelector('main').append(new Image())")
    with pytest.raises(pytest.fail.Exception, match=r"light and dark: image-alt(?s:.*)img"):
        axe(page)
