"""MkDocs hooks."""

import re
from typing import Any

_LINK = re.compile(r"\[(?P<text>[^\]]*)\]\((?P<up>(?:\.\./)+)(?P<file>[^)#\s]+)(?:#[^)]*)?\)")


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Name files outside docs/ instead of linking to them: they are in the repository, not on the site."""
    outside = page.file.src_uri.count("/") + 1

    def named(link: re.Match[str]) -> str:
        if link["up"].count("../") != outside:
            return link[0]
        text = link["text"].strip("`")
        return f"`{link['file']}`" if text == link["file"] else f"{text} (`{link['file']}`)"

    return _LINK.sub(named, markdown)
