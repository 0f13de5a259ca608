"""A sync's explanation of a proposal in words: features, levels, reasons, verdicts."""

from services.languages import Language

FEATURES: dict[Language, dict[str, str]] = {
    "en": {
        "account": "account", "body": "organisation", "commune": "commune", "domain": "website",
        "email": "e-mail", "glued": "name in one word", "house": "house number", "identifier": "identifier",
        "leftover": "words of one name only", "name": "name", "phone": "phone", "postcode": "postcode",
        "street": "street", "together": "name and address together", "trade": "trade",
    },
    "fr": {
        "account": "compte", "body": "organisation", "commune": "commune", "domain": "site web",
        "email": "courriel", "glued": "nom d’un seul tenant", "house": "numéro de rue",
        "identifier": "identifiant", "leftover": "mots d’un seul des noms", "name": "nom", "phone": "téléphone",
        "postcode": "code postal", "street": "rue", "together": "nom et adresse ensemble", "trade": "activité",
    },
}  # fmt: skip
LEVELS: dict[Language, dict[str, str]] = {
    "en": {
        "address": "the address alone", "area": "same département", "both": "on both sides",
        "close": "nearly the same", "differs": "another", "dull": "ordinary words only", "like": "alike",
        "little": "little in common", "near": "nearly the same", "neither": "no", "none": "none",
        "number": "another number", "one": "on one side", "page": "same page", "same": "the same",
        "unlike": "nothing in common", "within": "one in the other",
    },
    "fr": {
        "address": "l’adresse seule", "area": "même département", "both": "des deux côtés",
        "close": "presque pareil", "differs": "autre", "dull": "mots ordinaires seulement", "like": "ressemblant",
        "little": "peu en commun", "near": "presque pareil", "neither": "non", "none": "aucun",
        "number": "autre numéro", "one": "d’un côté", "page": "même page", "same": "pareil",
        "unlike": "rien en commun", "within": "l’un dans l’autre",
    },
}  # fmt: skip
REASONS: dict[Language, dict[str, str]] = {
    "en": {
        "aside": "joining them would split others", "between": "something stands between them",
        "claimed": "one network says so", "close": "alike, not enough to be joined unasked",
        "several": "several of one network fit",
    },
    "fr": {
        "aside": "les réunir en séparerait d’autres", "between": "quelque chose s’y oppose",
        "claimed": "un réseau le dit", "close": "ressemblance insuffisante pour être réunies d’office",
        "several": "plusieurs fiches d’un même réseau conviennent",
    },
}  # fmt: skip
VERDICTS: dict[Language, dict[str, str]] = {
    "en": {
        "contests": "what the other says of it is wrong", "distinct": "two places",
        "part-of": "one lies in the other", "same": "one place",
    },
    "fr": {
        "contests": "ce que l’autre en dit est faux", "distinct": "deux lieux",
        "part-of": "l’un est dans l’autre", "same": "un seul lieu",
    },
}  # fmt: skip
NEAR: dict[Language, str] = {"en": "within {metres} m", "fr": "à moins de {metres} m"}
FAR: dict[Language, str] = {"en": "far apart", "fr": "loin l’un de l’autre"}


def compared(feature: str, level: str, language: Language) -> str:
    """A feature at a level in words; as the sync names them where this version has no words for them."""
    if feature == "distance":
        if level.isascii() and level.isdigit():
            return NEAR[language].format(metres=level)
        return FAR[language]
    return f"{FEATURES[language].get(feature, feature)} {LEVELS[language].get(level, level)}"


def reason(why: str, language: Language) -> str:
    """Why two records are not joined, in words."""
    return REASONS[language].get(why, why)


def verdict(said: str, language: Language) -> str:
    """What a network says of two records, in words."""
    return VERDICTS[language].get(said, said)
