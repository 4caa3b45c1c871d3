"""MkDocs hooks."""

import re
from typing import Any

_LINK = re.compile(
    r"\[(?P<text>[^\]]*)\]\((?P<up>(?:\.\./)+)(?P<file>[^)#\s]+)(?:#[^)]*)?\)"
)


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Name files outside docs/ instead of linking to them: they are in the repository, not on the site."""
    outside = page.file.src_uri.count("/") + 1

    def named(link: re.Match[str]) -> str:
        if link["up"].count("../") != outside:
            return link[0]
        text = link["text"].strip("`")
        return (
            f"`{link['file']}`"
            if text == link["file"]
            else f"{text} (`{link['file']}`)"
        )

    return _LINK.sub(named, markdown)


def on_page_context(context: Any, page: Any, config: Any, **_: Any) -> Any:
    """Set the language of the page, which the theme writes into ``lang`` and uses for its own words."""
    config.theme["language"] = "es" if page.file.src_uri.startswith("es/") else "en"
    return context


def on_post_page(output: str, **_: Any) -> str:
    """Keep the theme from asking GitHub for stars and forks: pages fetch nothing from elsewhere."""
    return output.replace(' data-md-component="source"', "")
