"""French and English: English messages are the ids, the French stands in `web/locale`."""

from functools import cache, lru_cache
from gettext import NullTranslations
from io import BytesIO
from pathlib import Path
from typing import Literal

from services.errors import Args

Language = Literal["fr", "en"]

ROOT = Path(__file__).parent.parent
CATALOGUE = ROOT / "web" / "locale" / "fr" / "LC_MESSAGES" / "maillage.po"


@lru_cache(1024)
def choose(accept_language: str | None, default: Language = "en") -> Language:
    """The language that a client prefers by its `Accept-Language`; `default` where it does not say."""
    weights = {"fr": 0.0, "en": 0.0}
    for entry in (accept_language or "")[:200].split(","):
        tag, _, parameters = entry.partition(";")
        language = tag.strip().lower().partition("-")[0]
        if language in weights:
            weights[language] = max(weights[language], _weight(parameters))
    if weights["fr"] == weights["en"]:
        return default
    return "fr" if weights["fr"] > weights["en"] else "en"


def _weight(parameters: str) -> float:
    name, _, value = parameters.strip().partition("=")
    if name.strip().lower() != "q":
        return 1.0
    try:
        return min(max(float(value), 0.0), 1.0)
    except ValueError:
        return 0.0


def say(message: str, args: Args, language: str) -> str:
    """`message` with its arguments, in French where that is asked and known."""
    # gettext answers to the empty message with the header of the catalogue.
    return (catalogue(language).gettext(message) if message else "").format(**args)


@cache
def catalogue(language: str) -> NullTranslations:
    """The messages in a language; English ones are their own translation."""
    if language != "fr":
        return NullTranslations()
    # Babel is loaded here, as a process that never speaks French does not need it.
    from babel.messages.mofile import write_mo
    from babel.messages.pofile import read_po
    from babel.support import Translations

    compiled = BytesIO()
    with CATALOGUE.open("rb") as file:
        write_mo(compiled, read_po(file, locale="fr"))
    compiled.seek(0)
    return Translations(compiled)
