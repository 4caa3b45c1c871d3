"""MkDocs hooks for the two languages: each page says which it is in, and links to its translation.

Spanish pages lie in es/ and have their own menu, in Spanish.
"""

import re
from typing import Any

from course import page_names as chapters
from notebook_pages import page_names as notebooks

# Each English page with a translation, and that translation.
TRANSLATIONS = {
    "index.md": "es/index.md",
    "getting-started.md": "es/primeros-pasos.md",
    "concepts.md": "es/conceptos.md",
    "course/index.md": "es/curso/index.md",
    **dict(chapters()),
    "playground.md": "es/playground.md",
    "notebooks/index.md": "es/cuadernos/index.md",
    **dict(notebooks()),
}
_ENGLISH_OF = {spanish: english for english, spanish in TRANSLATIONS.items()}
_NAMES = {"en": "English", "es": "Español"}
_TOGGLES = {"en": ("Dark", "Light"), "es": ("Oscuro", "Claro")}
_DESCRIPTIONS = {
    "en": "Functional neural networks on JAX",
    "es": "Redes neuronales funcionales con JAX",
}
# Titles of code blocks, which tests/test_docs.py reads, as shown to the reader.
_CAPTIONS = {
    "en": {
        "prints": "output",
        "for example": "output, for example",
        "refused": "raises an error",
    },
    "es": {
        "prints": "salida",
        "for example": "salida, por ejemplo",
        "refused": "da un error",
        "warns": "da un aviso",
        "message": "mensaje",
        "needs FNN_DATA": "necesita FNN_DATA",
    },
}
_TITLE = re.compile(r'^( *```\w+ title=")([^"]+)(?=")', re.MULTILINE)
_menus: dict[str, Any] = {}
_urls: dict[str, str] = {}


def language_of(page: Any) -> str:
    """The language of a page, by its folder."""
    return "es" if page.file.src_uri.startswith("es/") else "en"


def translations(page: Any) -> dict[str, str]:
    """The source path of a page in each language, or of the home page where there is none."""
    path = page.file.src_uri
    if language_of(page) == "en":
        return {"en": path, "es": TRANSLATIONS.get(path, "es/index.md")}
    return {"en": _ENGLISH_OF.get(path, "index.md"), "es": path}


def on_nav(nav: Any, files: Any, **_: Any) -> Any:
    """Split the menu by language; each ends with a link to the other."""
    from mkdocs.structure.nav import Link, Navigation

    spanish = next(item for item in nav.items if item.title == _NAMES["es"])
    items = {
        "en": [item for item in nav.items if item is not spanish],
        "es": spanish.children,
    }
    links = {"en": Link(_NAMES["es"], "es/"), "es": Link(_NAMES["en"], "./")}
    for language in _NAMES:
        pages = [page for page in nav.pages if language_of(page) == language]
        pages[0].previous_page = pages[-1].next_page = None
        menu = Navigation([*items[language], links[language]], pages)
        menu.homepage = pages[0]
        _menus[language] = menu
    _urls.update({file.src_uri: file.url for file in files.documentation_pages()})
    return nav


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Write the titles of code blocks in words, in the language of the page."""
    captions = _CAPTIONS[language_of(page)]
    return _TITLE.sub(
        lambda found: found[1] + captions.get(found[2], found[2]), markdown
    )


def on_page_context(context: Any, page: Any, config: Any, **_: Any) -> Any:
    """Set the language of the theme's words, of the menu and of the description."""
    language = language_of(page)
    config.theme["language"] = language  # also written into lang=
    for palette, name in zip(config.theme["palette"], _TOGGLES[language], strict=True):
        palette["toggle"]["name"] = name
    config.extra["alternate"] = [
        {"name": _NAMES[other], "link": _urls[path], "lang": other}
        for other, path in translations(page).items()
    ]
    page.meta.setdefault("description", _DESCRIPTIONS[language])
    context["nav"] = _menus[language]
    return context


def on_post_page(output: str, page: Any, **_: Any) -> str:
    """Translate the title of heading links, and drop rel="alternate" where there is no translation."""
    if language_of(page) == "es":
        output = output.replace('title="Permanent link"', 'title="Enlace permanente"')
    if page.file.src_uri in TRANSLATIONS | _ENGLISH_OF:
        return output
    return re.sub(r'<link rel="alternate"[^>]* hreflang=[^>]*>\s*', "", output)
