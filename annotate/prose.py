"""Other people's Markdown as HTML that can do no harm."""

import nh3
from django.utils.safestring import SafeString, mark_safe
from markdown_it import MarkdownIt
from markdown_it.token import Token

# Without images: the picture's address stays as a link, because our pages load nothing from elsewhere.
MARKDOWN = MarkdownIt("commonmark", {"html": False}).enable("table").disable("image")
TAGS = {"h2", "h3", "h4", "h5", "h6", "p", "br", "hr", "ul", "ol", "li", "strong", "em", "code", "pre", "blockquote"}
TAGS |= {"a", "table", "thead", "tbody", "tr", "th", "td"}


def below_the_page_title(tokens: list[Token]) -> list[Token]:
    """The page has its h1, so the text's highest heading becomes h2, and the others keep their distance to it."""
    headings = [token for token in tokens if token.type in {"heading_open", "heading_close"}]
    highest = min((int(token.tag[1]) for token in headings), default=1)
    for token in headings:
        token.tag = f"h{min(int(token.tag[1]) - highest + 2, 6)}"
    return tokens


def render(markdown: str) -> SafeString:
    tokens = below_the_page_title(MARKDOWN.parse(markdown))
    raw = MARKDOWN.renderer.render(tokens, MARKDOWN.options, {})
    clean = nh3.clean(
        raw,
        tags=TAGS,
        attributes={"a": {"href", "title"}, "ol": {"start"}},
        url_schemes={"http", "https", "mailto"},
        link_rel="nofollow noopener",
    )
    return mark_safe(clean)  # noqa: S308 (nh3 has just removed everything but the tags above)
