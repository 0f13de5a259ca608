"""What columns are called: in our own exports, and in the lists that networks and platforms have."""

from collections.abc import Mapping
from typing import Any

from services.canonical import fold

# Where a column goes, its heading in CSV, its name in GeoJSON; in the order of the columns.
COLUMNS = (
    ("record.id", "identifiant", "id"),
    ("record.version", "version", "version"),
    ("record.updated_at", "mis à jour le", "updated"),
    ("name", "nom", "name"),
    ("status", "statut", "status"),
    ("address.street", "adresse", "street"),
    ("address.extra", "complément d'adresse", "extra"),
    ("address.postcode", "code postal", "postcode"),
    ("address.city", "commune", "city"),
    ("address.insee", "code INSEE", "insee"),
    ("address.country", "pays", "country"),
    ("position.lat", "latitude", "lat"),
    ("position.lon", "longitude", "lon"),
    ("position.precision", "précision", "precision"),
    ("kind", "forme", "kind"),
    ("families", "repères communs", "families"),
    ("types", "types", "types"),
    ("services", "services", "services"),
    ("summary", "résumé", "summary"),
    ("description", "description", "description"),
    ("website", "site web", "website"),
    ("links", "liens", "links"),
    ("phone", "téléphone", "phone"),
    ("email", "courriel", "email"),
    ("opening_hours", "horaires (OpenStreetMap)", "opening_hours"),
    ("opening_hours_text", "horaires (texte)", "opening_hours_text"),
    ("accessibility.wheelchair", "accès en fauteuil roulant", "wheelchair"),
    ("accessibility.acceslibre", "fiche Acceslibre", "acceslibre"),
    ("surface.built_m2", "surface bâtie (m²)", "built_m2"),
    ("surface.outdoor_m2", "surface extérieure (m²)", "outdoor_m2"),
    ("operator.name", "porté par", "operator"),
    ("operator.legal_forms", "formes juridiques", "legal_forms"),
    ("operator.governance", "gouvernance", "governance"),
    ("identifiers", "autres identifiants", "identifiers"),
    ("labels", "labels", "labels"),
    ("photos", "photos", "photos"),
    ("alternate_names", "autres noms", "alternate_names"),
    ("opened_on", "ouvert le", "opened_on"),
    ("closed_on", "fermé le", "closed_on"),
    ("verified_on", "vérifié le", "verified_on"),
    ("verified_by", "vérifié par", "verified_by"),
    ("join", "rapprochement", "join"),
    ("license", "licence", "license"),
    ("origin.system", "source", "origin_system"),
    ("origin.id", "identifiant dans la source", "origin_id"),
    ("origin.url", "adresse dans la source", "origin_url"),
    ("extensions", "champs propres", "extensions"),
)

# The words of an export for the codes of a record.
WORDS: Mapping[str, Mapping[str, str]] = {
    "status": {"project": "en projet", "open": "ouvert", "paused": "en pause", "closed": "fermé"},
    "kind": {
        "physical": "sur place",
        "itinerant": "itinérant",
        "virtual": "en ligne",
        "undisclosed": "adresse non divulguée",
    },
    "position.precision": {"exact": "exacte", "street": "rue", "commune": "commune", "unknown": "inconnue"},
    "verified_by": {"place": "le lieu", "network": "le réseau", "import": "un import"},
    "join": {"auto": "automatique", "claims": "par avis"},
    "accessibility.wheelchair": {"yes": "oui", "limited": "en partie", "no": "non"},
}
OTHER_WORDS: Mapping[str, Mapping[str, str]] = {
    "status": {
        "project": "projet|preparation|en cours|en construction|en creation|a venir|planned|en travaux",
        "open": "ouverte|ouvert au public|actif|active|en activite|existant|existe|operationnel|oui|1|"
        "true|opened",
        "paused": "suspendu|pause|ferme temporairement|temporairement ferme|inactif|en sommeil",
        "closed": "fermee|ferme definitivement|definitivement ferme|disparu|cesse|non|0|false|archive",
    },
    "kind": {
        "physical": "fixe|physique|non|0|false",
        "itinerant": "itinerante|mobile|oui|1|true",
        "virtual": "virtuel",
        "undisclosed": "non divulgue|confidentiel",
    },
    "position.precision": {
        "exact": "housenumber|numero|batiment|entree",
        "street": "voie",
        "commune": "municipality|city|ville|mairie",
        "unknown": "",
    },
    "verified_by": {"place": "lieu", "network": "reseau", "import": ""},
    "join": {"auto": "", "claims": "avis"},
    "accessibility.wheelchair": {
        "yes": "accessible|total|totale|1|true",
        "limited": "partiel|partielle|partiellement",
        "no": "aucun|inaccessible|0|false",
    },
}

# Headings of real lists, the surest first: CGET 2019, MapLabBZH, the mediation standard, platforms.
KNOWN: Mapping[str, str] = {
    "name": "nom tl|nom du lieu|nom lieu|nom du tiers lieu|nom de la structure|title|titre|libelle|"
    "denomination|raison sociale|enseigne|lieu|intitule|nom usuel|label name",
    "status": "etat|etat du lieu|statut du lieu|state|avancement|ouverture",
    "address.street": "address|adresse postale|adresse 1|adresse1|street address|rue|voie|"
    "adresse complete|addr street",
    "address.extra": "complement adresse|complement|adresse 2|adresse2|batiment",
    "address.postcode": "cp|code postal|codepostal|postal code|zip|zipcode|zip code|post code|addr postcode",
    "address.city": "ville|comminit|cominit|nom commune|nom com|nomcom|commune initiale|localite|town|"
    "addr city|libelle commune|municipality",
    "address.insee": "inseecom|code insee|codeinsee|insee com|code commune|code commune insee|insee code|"
    "citycode|com|depcom|codgeo",
    "address.country": "country code|code pays",
    "position.lat": "lat y|y|coord y|coordonnee y|ylat|lat wgs84|latitude wgs84|y wgs84|geo lat|y l93|"
    "y lambert93",
    "position.lon": "long|lng|x|longitude x|coord x|coordonnee x|xlong|lon wgs84|longitude wgs84|x wgs84|"
    "geo lng|geo lon|x l93|x lambert93",
    "position": "geo point 2d|geo point|coordonnees|coordonnees gps|gps|lonlat|latlon|latlng|"
    "geolocalisation|geolocation|location",
    "position.precision": "geocod precision|result type",
    "kind": "itinerance|type d accueil",
    "families": "familles|repere commun|landmarks",
    "types": "typo|typologie|type|structure|categorie|categories|category|type de lieu|type lieu|"
    "type de tiers lieu|typologies",
    "services": "service|offre|offres|activites|activite|equipements|equipement",
    "summary": "presentation resume|resume court|accroche|short description|baseline|slogan",
    "description": "presentation detail|presentation|descriptif|texte|about|commentaire",
    "website": "web|site|url|siteweb|site internet|www|lien|homepage|website url|contact website|page web",
    "links": "autres liens",
    "links.twitter": "twitter|compte twitter",
    "links.facebook": "facebook|page facebook",
    "links.instagram": "instagram",
    "links.mastodon": "mastodon",
    "links.linkedin": "linkedin",
    "links.youtube": "youtube",
    "links.rss": "rss|flux rss",
    "links.booking": "prise rdv|reservation|booking",
    "phone": "tel|telephone fixe|contact phone|numero de telephone|phone number|tel fixe",
    "email": "mail|e mail|courriels|adresse mail|adresse email|contact email|email contact|mel",
    "opening_hours": "horaires|horaire|horaires d ouverture|opening hours|horaires osm|horaires ouverture",
    "opening_hours_text": "horaires texte|horaires en texte",
    "accessibility.wheelchair": "pmr|accessibilite pmr|accessible pmr|handicap|accessibilite|"
    "fauteuil roulant",
    "accessibility.acceslibre": "fiche acces libre|acces libre",
    "surface.built_m2": "surface|surface m2|superficie|surface totale|surface batie",
    "surface.outdoor_m2": "surface exterieure",
    "operator.name": "organisation|structure parente|gestionnaire|porteur|structure porteuse|operateur|"
    "organization",
    "operator.legal_forms": "forme juridique|statut juridique",
    "operator.governance": "mode de gouvernance",
    "identifiers.siret": "siret|pivot|n siret|numero siret|siret etablissement",
    "identifiers.rna": "rna|n rna|numero rna|waldec",
    "identifiers.osm": "osm|osm id|id osm",
    "identifiers.wikidata": "wikidata",
    "identifiers.ban": "ban|id ban|cle ban|cle interop",
    "identifiers.fablabs.io": "fablabs io|fablabsio|id fablabs io",
    "labels": "label",
    "photos": "photo|image|images|illustration",
    "alternate_names": "autre nom|alias|nom alternatif|alternate name|sigle|acronyme",
    "opened_on": "date ouverture|date d ouverture|annee d ouverture|annee ouverture|date de creation|"
    "annee de creation|creation|opening date",
    "closed_on": "date fermeture|date de fermeture|closing date",
    "verified_on": "date maj|date de mise a jour|derniere mise a jour|maj|last update|date verification|"
    "updated",
    "license": "licence des donnees|data license",
    "origin.system": "origine|source system|source des donnees",
    "origin.id": "id|identifiant|uid|code|numero|num|id lieu|identifiant lieu|id structure|objectid|fid|"
    "ref|gid",
    "origin.url": "url source|fiche|permalien|permalink",
}


def key(heading: str) -> str:
    """A heading as it is recognised: `NOM_TL`, `Nom TL` and `nom-tl` are one."""
    return fold(heading).replace(" ", "")


def _targets() -> dict[str, tuple[int, str]]:
    found: dict[str, tuple[int, str]] = {"lat": (0, "position.lat"), "lon": (0, "position.lon")}
    for target, french, english in COLUMNS:
        if not target.startswith("record."):
            found.setdefault(key(french), (0, target))
            found.setdefault(key(english), (0, target))
    for target, headings in KNOWN.items():
        for rank, heading in enumerate(headings.split("|"), 1):
            found.setdefault(key(heading), (rank, target))
    return found


def _codes() -> dict[str, dict[str, str]]:
    codes: dict[str, dict[str, str]] = {}
    for target, words in WORDS.items():
        known = {fold(code): code for code in words} | {fold(word): code for code, word in words.items()}
        for code, others in OTHER_WORDS[target].items():
            for word in filter(None, others.split("|")):
                known.setdefault(word, code)
        codes[target] = known
    return codes


def code(target: str, word: Any) -> str | None:
    """The code of a record's field that a word stands for: `Ouvert au public` is `open`."""
    if isinstance(word, bool):
        word = "oui" if word else "non"
    return CODES[target].get(fold(str(word)))


TARGETS = _targets()
CODES = _codes()
FRENCH = {target: french for target, french, _ in COLUMNS}
ENGLISH = {target: english for target, _, english in COLUMNS}
HEADINGS = tuple(FRENCH.values())
