"""What tables and plots of the observatory say, in French and English."""

from collections.abc import Mapping

from services.languages import Language

FIELDS: Mapping[Language, Mapping[str, str]] = {
    "fr": {
        "alternate_names": "Autres noms",
        "opened_on": "Date d’ouverture",
        "verified_on": "Date de vérification",
        "address": "Adresse",
        "position": "Position",
        "families": "Repères communs",
        "types": "Mots du réseau",
        "services": "Services",
        "summary": "Résumé",
        "description": "Description",
        "website": "Site web",
        "links": "Autres liens",
        "phone": "Téléphone",
        "email": "Courriel",
        "opening_hours": "Horaires (syntaxe OSM)",
        "opening_hours_text": "Horaires en toutes lettres",
        "accessibility": "Accessibilité",
        "surface": "Surface",
        "operator": "Structure porteuse",
        "identifiers": "Identifiants (SIRET…)",
        "labels": "Labels",
        "photos": "Photos",
    },
    "en": {
        "alternate_names": "Other names",
        "opened_on": "Opening date",
        "verified_on": "Date of checking",
        "address": "Address",
        "position": "Position",
        "families": "Shared landmarks",
        "types": "Words of the network",
        "services": "Services",
        "summary": "Summary",
        "description": "Description",
        "website": "Web site",
        "links": "Other links",
        "phone": "Telephone",
        "email": "E-mail",
        "opening_hours": "Hours (OSM syntax)",
        "opening_hours_text": "Hours in words",
        "accessibility": "Accessibility",
        "surface": "Surface",
        "operator": "Organisation",
        "identifiers": "Identifiers (SIRET…)",
        "labels": "Labels",
        "photos": "Photos",
    },
}
AGES: Mapping[Language, Mapping[str, str]] = {
    "fr": {
        "under-6-months": "moins de 6 mois",
        "6-to-12-months": "6 à 12 mois",
        "1-to-2-years": "1 à 2 ans",
        "over-2-years": "plus de 2 ans",
        "unknown": "date inconnue",
    },
    "en": {
        "under-6-months": "under 6 months",
        "6-to-12-months": "6 to 12 months",
        "1-to-2-years": "1 to 2 years",
        "over-2-years": "over 2 years",
        "unknown": "date unknown",
    },
}
# The heading of each table, what is counted, and what to bear in mind.
TITLES: Mapping[Language, Mapping[str, tuple[str, str, str]]] = {
    "fr": {
        "families": (
            "Repères communs",
            "Lieux par repère commun",
            "Lieux qui ont au moins un repère commun : {with} sur {places}. Un lieu peut en avoir plusieurs.",
        ),
        "types": (
            "Mots des réseaux",
            "Lieux par mot des réseaux",
            "Chaque réseau classe avec ses propres mots. Lieux qui en portent au moins un : {with} sur {places}. La "
            "liste derrière un mot compte aussi les mots que leur réseau en dit proches.",
        ),
        "statuses": ("État", "Lieux par état", "L’état affiché de chaque lieu."),
        "openings": (
            "Ouvertures",
            "Lieux par année d’ouverture",
            "Lieux dont on sait quand ils ont ouvert : {with} ; date inconnue : {without}. Un lieu fermé dont plus "
            "aucun réseau ne parle n’est pas compté : ce n’est pas le nombre de tous les lieux ouverts une année.",
        ),
        "openings-by-month": (
            "Ouvertures par mois",
            "Lieux par mois d’ouverture",
            "Quand le mois est connu.",
        ),
        "closings": (
            "Fermetures",
            "Lieux par année de fermeture",
            "Lieux dont on sait quand ils ont fermé : {with} ; lieux fermés à une date inconnue : {without}. Retirer "
            "un lieu d’une liste n’est pas le fermer.",
        ),
        "closings-by-month": (
            "Fermetures par mois",
            "Lieux par mois de fermeture",
            "Quand le mois est connu.",
        ),
        "departements": (
            "Départements",
            "Lieux par département",
            "Lieux sans département connu : {without}. Un département sans lieu ici peut en avoir.",
        ),
        "areas": (
            "Territoires nommés",
            "Lieux par territoire nommé par un réseau",
            "Les territoires peuvent se recouvrir.",
        ),
        "coverage": (
            "Ce qui est dit des lieux",
            "Part des lieux dont quelque chose est dit, champ par champ",
            "Un champ vide est un silence des réseaux : un lieu sans accessibilité dite n’est pas un lieu "
            "inaccessible.",
        ),
        "coverage-by-network": (
            "Ce que dit chaque réseau",
            "Part des fiches de chaque réseau qui disent quelque chose, champ par champ",
            "Par ordre alphabétique. Un réseau n’a pas à tout dire.",
        ),
        "verified": (
            "Vérification",
            "Lieux par ancienneté de la dernière vérification",
            "Lieux qui ont une date de vérification : {with} sur {places}.",
        ),
        "updated": (
            "Dernières nouvelles",
            "Lieux par ancienneté de la dernière modification d’une fiche",
            "Une fiche sans nouvelles peut rester juste.",
        ),
        "networks": (
            "Réseaux",
            "Lieux par réseau qui le dit",
            "Par ordre alphabétique. Un lieu dit par plusieurs réseaux compte pour chacun.",
        ),
        "labels": ("Labels", "Lieux par label", "Un lieu peut en avoir plusieurs."),
        "licenses": (
            "Licences des données",
            "Lieux par licence des fiches qui les disent",
            "Un lieu dit sous plusieurs licences compte pour chacune.",
        ),
    },
    "en": {
        "families": (
            "Shared landmarks",
            "Places by shared landmark",
            "Places that have a shared landmark: {with} of {places}. A place may have several.",
        ),
        "types": (
            "Words of networks",
            "Places by word of the networks",
            "Each network sorts by words of its own. Places that bear one: {with} of {places}. The list behind a word "
            "counts words that their network says are close, too.",
        ),
        "statuses": ("State", "Places by state", "The state that is shown of each place."),
        "openings": (
            "Openings",
            "Places by year of opening",
            "Places of which one knows when they opened: {with}; date unknown: {without}. A closed place of which no "
            "network speaks any more is not counted: this is not the number of all places that opened in a year.",
        ),
        "openings-by-month": ("Openings by month", "Places by month of opening", "Where the month is known."),
        "closings": (
            "Closings",
            "Places by year of closing",
            "Places of which one knows when they closed: {with}; closed at an unknown date: {without}. Taking a place "
            "off a list is not closing it.",
        ),
        "closings-by-month": ("Closings by month", "Places by month of closing", "Where the month is known."),
        "departements": (
            "Counties (départements)",
            "Places by county",
            "Places without a known county: {without}. One without a place here may have some.",
        ),
        "areas": ("Named areas", "Places by area that a network has named", "Areas may overlap."),
        "coverage": (
            "What is said of places",
            "Share of places of which something is said, field by field",
            "An empty field is a silence of networks: a place without a word on access is not one without access.",
        ),
        "coverage-by-network": (
            "What each network says",
            "Share of the records of each network that say something, field by field",
            "In alphabetical order. A network need not say everything.",
        ),
        "verified": (
            "Checking",
            "Places by age of the last check",
            "Places that have a date of checking: {with} of {places}.",
        ),
        "updated": (
            "Last news",
            "Places by age of the last change of a record",
            "A record without news may still be right.",
        ),
        "networks": (
            "Networks",
            "Places by network that says them",
            "In alphabetical order. A place that several networks say counts for each.",
        ),
        "labels": ("Labels", "Places by label", "A place may have several."),
        "licenses": (
            "Licences of the data",
            "Places by licence of the records that say them",
            "A place said under several licences counts for each.",
        ),
    },
}
UNKNOWN: Mapping[Language, str] = {"fr": "date inconnue", "en": "date unknown"}
NO_LICENSE: Mapping[Language, str] = {"fr": "sans licence dite", "en": "no licence said"}
