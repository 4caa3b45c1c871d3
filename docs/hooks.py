"""MkDocs hooks for links: files outside docs/ are in the repository, and pages fetch nothing from elsewhere."""

import posixpath
import re
from pathlib import PurePosixPath
from typing import Any

_LINK = re.compile(r"\]\((?P<up>(?:\.\./)+)(?P<file>[^)#\s]+)(?P<anchor>#[^)]*)?\)")


def on_page_markdown(markdown: str, page: Any, config: Any, **_: Any) -> str:
    """Link to the repository for files outside docs/, and to its page for a notebook."""
    folder = PurePosixPath(page.file.src_uri).parent
    depth = len(folder.parts) + 1

    def target(link: re.Match[str]) -> str:
        if link["up"].count("../") != depth:
            return link[0]
        notebook = re.fullmatch(
            r"examples/notebooks/(\w+)\.(en|es)\.ipynb", link["file"]
        )
        if notebook is None:
            return (
                f"]({config.repo_url}/blob/main/{link['file']}{link['anchor'] or ''})"
            )
        place = {"en": "notebooks", "es": "es/cuadernos"}[notebook[2]]
        return f"]({posixpath.relpath(f'{place}/{notebook[1]}.md', folder)})"

    return _LINK.sub(target, markdown)


def on_post_page(output: str, **_: Any) -> str:
    """Keep the theme from asking GitHub for stars and forks."""
    return output.replace(' data-md-component="source"', "")
