"""Find broken links, without a network: in a built site, and in Markdown files of the repository.

Addresses elsewhere are checked for their form only, except those of files in this repository.
"""

import html.parser
import re
from urllib.parse import unquote, urlsplit

REPOSITORY = "https://github.com/fnn-jax/fnn"
LINK = re.compile(r"(?<!\\)\[[^]]*\]\(([^)\s]+)(?: \"[^\"]*\")?\)")
CODE = re.compile(r"^( *)```.*?^\1```|`[^`\n]+`", re.MULTILINE | re.DOTALL)
FENCE = re.compile(r"^( *)```.*?^\1```", re.MULTILINE | re.DOTALL)
HOST = re.compile(r"(?:[a-z0-9-]+\.)+[a-z]{2,}", re.IGNORECASE)


class Page(html.parser.HTMLParser):
    """The language of an HTML page, its ids, its links by class or rel, and everything it refers to."""

    def __init__(self, path):
        super().__init__()
        self.language, self.ids, self.links, self.targets = "", set(), {}, set()
        self.text = path.read_text(encoding="utf-8")
        self.feed(self.text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if tag == "html":
            self.language = attributes["lang"]
        self.ids.add(attributes.get("id") or attributes.get("name"))
        self.targets.update(attributes[name] for name in ("href", "src", "poster", "data") if attributes.get(name))
        self.targets.update(part.split()[0] for part in (attributes.get("srcset") or "").split(",") if part.strip())
        target = attributes.get("href") or attributes.get("src")
        if target:
            for kind in (attributes.get("class") or attributes.get("rel") or "").split():
                self.links.setdefault(kind, {})[attributes.get("hreflang")] = target


def anchors_of(markdown):
    """The anchors of a Markdown file's headings, as GitHub makes them."""
    lines = re.findall(r"^#+ +(.+?) *$", FENCE.sub("", markdown), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", line.replace("`", "").lower()).replace(" ", "-") for line in lines}


def problem_in_repository(root, path, anchor):
    """What is wrong with a path in the repository and an anchor there, or None."""
    file = root / unquote(path)
    if not file.exists():
        return "no such file"
    if anchor and file.suffix == ".md" and anchor not in anchors_of(file.read_text(encoding="utf-8")):
        return "no such heading"
    return None


def problem_elsewhere(target, root):
    """What is wrong with the form of an address, or None."""
    parts = urlsplit(target)
    if parts.scheme in ("data", "mailto", "javascript"):
        return None
    if parts.scheme != "https":
        return "not https"
    if not HOST.fullmatch(parts.netloc):
        return "not a host"
    if re.search(r"[\s<>\"{}|\\^`]", target):
        return "not an address"
    for kind in ("blob", "tree"):
        start = f"{REPOSITORY}/{kind}/main/"
        if target.startswith(start):
            return problem_in_repository(root, target.partition("#")[0].removeprefix(start), parts.fragment)
    return None


def broken_in_site(folder, root):
    """Broken links of a built site, one line each, and how many links were looked at."""
    folder = folder.resolve()
    pages = {path.resolve(): Page(path) for path in sorted(folder.rglob("*.html"))}
    found, count = [], 0
    for path, page in pages.items():
        for target in sorted(page.targets):
            count += 1
            if problem := _problem_in_site(target, path, pages, folder, root):
                found.append(f"{path.relative_to(folder)}: {target}: {problem}")
    return found, count


def _problem_in_site(target, path, pages, folder, root):
    parts = urlsplit(target)
    if parts.scheme or parts.netloc:
        return problem_elsewhere(target, root)
    here = folder if parts.path.startswith("/") else path.parent
    place = (here / unquote(parts.path).lstrip("/")).resolve() if parts.path else path
    if not place.is_relative_to(folder):
        return "outside the site"
    if place.is_dir():
        place /= "index.html"
    if not place.exists():
        return "no such file"
    anchor = unquote(parts.fragment)
    if anchor and place in pages and anchor not in pages[place].ids and not anchor.startswith("__"):
        return "no such anchor"
    return None


def broken_in_markdown(path, root):
    """Broken links of a Markdown file, one line each."""
    found = []
    text = path.read_text(encoding="utf-8")
    for target in LINK.findall(CODE.sub("`", text)):
        if "://" in target or target.startswith("mailto:"):
            problem = problem_elsewhere(target, root)
        else:
            file, _, anchor = target.partition("#")
            place = (path.parent / file).resolve() if file else path.resolve()
            problem = (
                problem_in_repository(root, place.relative_to(root).as_posix(), anchor)
                if place.is_relative_to(root)
                else "outside the repository"
            )
        if problem:
            found.append(f"{path.name}: {target}: {problem}")
    return found
