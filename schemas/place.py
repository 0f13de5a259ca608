"""The place record: what one network says of one place."""

from typing import Annotated, Literal

from msgspec import Meta, Raw, Struct

Text = Annotated[str, Meta(max_length=1000)]
Code = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9.\-]{0,63}$(?!\n)", examples=["coworking"])]
Word = Annotated[
    str,
    Meta(pattern=r"^[a-z0-9][a-z0-9.\-]{0,63}:[^\s:][^\s]{0,126}$(?!\n)", examples=["mon-reseau:atelier"]),
]
AnyCode = Annotated[str, Meta(min_length=1, max_length=191, pattern=r"^\S+$(?!\n)", examples=["wifi"])]
PartialDate = Annotated[
    str,
    Meta(pattern=r"^[0-9]{4}(-(0[1-9]|1[0-2])(-(0[1-9]|[12][0-9]|3[01]))?)?$(?!\n)", examples=["2020-05"]),
]
Day = Annotated[
    str, Meta(pattern=r"^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])$(?!\n)", examples=["2026-01-31"])
]
Url = Annotated[
    str,
    Meta(max_length=2000, pattern=r"^[a-zA-Z][a-zA-Z0-9+.\-]*:\S+$(?!\n)", examples=["https://exemple.fr"]),
]
WebUrl = Annotated[
    str, Meta(max_length=2000, pattern=r"^https?://[^\s/]\S*$(?!\n)", examples=["https://exemple.fr"])
]
RecordId = Annotated[
    str,
    Meta(
        pattern=r"^[a-z2-7]{26}:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$(?!\n)",
        examples=["a2b3c4d5e6f7a2b3c4d5e6f7a2:01890a5d-ac96-774b-bcce-b302099a8057"],
    ),
]
NodeId = Annotated[str, Meta(pattern=r"^[a-z2-7]{26}$(?!\n)", examples=["a2b3c4d5e6f7a2b3c4d5e6f7a2"])]
License = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9.+\-]{0,63}$(?!\n)", examples=["etalab-2.0"])]

Status = Literal["project", "open", "paused", "closed"]
Kind = Literal["physical", "itinerant", "virtual", "undisclosed"]
Precision = Literal["exact", "street", "commune", "unknown"]


class Address(Struct, frozen=True, omit_defaults=True):
    """A postal address. Postcodes and INSEE codes are strings and keep their zeros."""

    street: Text | None = None
    extra: Text | None = None
    postcode: (
        Annotated[str, Meta(pattern=r"^[0-9A-Z][0-9A-Z \-]{1,11}$(?!\n)", examples=["35000"])] | None
    ) = None
    city: Text | None = None
    insee: Annotated[str, Meta(pattern=r"^([0-9]{5}|2[AB][0-9]{3})$(?!\n)", examples=["35238"])] | None = None
    country: Annotated[str, Meta(pattern=r"^[A-Z]{2}$(?!\n)", examples=["FR"])] = "FR"


class Position(Struct, frozen=True, omit_defaults=True):
    """A point in WGS 84 degrees, rounded to 7 decimals, and how precisely it is known."""

    lat: Annotated[float, Meta(ge=-90, le=90)]
    lon: Annotated[float, Meta(ge=-180, le=180)]
    precision: Precision = "unknown"


class Link(Struct, frozen=True, omit_defaults=True):
    """Another address of the place on the web; `rel` says what it is (`mastodon`, `booking`, ...)."""

    rel: Annotated[str, Meta(min_length=1, max_length=64)]
    url: Url


class Accessibility(Struct, frozen=True, omit_defaults=True):
    """Access for wheelchairs, and the place's page at acceslibre."""

    wheelchair: Literal["yes", "limited", "no"] | None = None
    acceslibre: WebUrl | None = None


class Surface(Struct, frozen=True, omit_defaults=True):
    """Surfaces in square metres."""

    built_m2: Annotated[float, Meta(ge=0, le=1e7)] | None = None
    outdoor_m2: Annotated[float, Meta(ge=0, le=1e9)] | None = None


class Operator(Struct, frozen=True, omit_defaults=True):
    """The organisation that runs the place: never a named person."""

    name: Text | None = None
    legal_forms: tuple[Text, ...] = ()
    governance: tuple[Text, ...] = ()


class Identifier(Struct, frozen=True, omit_defaults=True):
    """The place's number in another register: `siret`, `rna`, `osm`, `wikidata`, `ban`, `fablabs.io`, ..."""

    scheme: Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9.\-]{0,63}$(?!\n)", examples=["siret"])]
    value: Annotated[str, Meta(min_length=1, max_length=200)]


class Label(Struct, frozen=True, omit_defaults=True, rename={"start": "from"}):
    """A dated statement by whoever gave the label; nothing is ranked by it."""

    code: AnyCode
    issuer: Text | None = None
    url: WebUrl | None = None
    start: PartialDate | None = None
    until: PartialDate | None = None


class Photo(Struct, frozen=True, omit_defaults=True):
    """A picture on the web, with who made it and under which licence."""

    url: WebUrl
    credit: Text | None = None
    license: License | None = None


class Origin(Struct, frozen=True, omit_defaults=True):
    """Where an imported record came from; protects against loops between aggregators."""

    system: Annotated[str, Meta(min_length=1, max_length=200)]
    id: Annotated[str, Meta(min_length=1, max_length=500)]
    url: Url | None = None


class Place(Struct, frozen=True, omit_defaults=True):
    """What one network says of one place.

    Only `name`, `status` and one way to locate it (a position, a postcode, an INSEE code, or the kind
    `virtual` or `undisclosed`) are required. A registry adds the scheme of `website` and writes `phone` as
    E.164. `extensions` are kept byte for byte by every node.
    """

    name: Annotated[str, Meta(min_length=1, max_length=200)]
    status: Status
    alternate_names: tuple[Annotated[str, Meta(min_length=1, max_length=200)], ...] = ()
    kind: Kind = "physical"
    opened_on: PartialDate | None = None
    closed_on: PartialDate | None = None
    verified_on: Day | None = None
    verified_by: Literal["place", "network", "import"] | None = None
    join: Literal["auto", "claims"] | None = None
    address: Address | None = None
    position: Position | None = None
    families: tuple[Code, ...] = ()
    types: tuple[Word, ...] = ()
    services: tuple[AnyCode, ...] = ()
    summary: Annotated[str, Meta(max_length=280)] | None = None
    description: Annotated[str, Meta(max_length=10_000)] | None = None
    website: Annotated[str, Meta(max_length=2000)] | None = None
    links: tuple[Link, ...] = ()
    phone: Annotated[str, Meta(max_length=40)] | None = None
    email: (
        Annotated[
            str,
            Meta(
                max_length=254, pattern=r"^[^@\s]+@[^@\s]+\.[^@\s]+$(?!\n)", examples=["contact@exemple.fr"]
            ),
        ]
        | None
    ) = None
    opening_hours: Annotated[str, Meta(max_length=1000)] | None = None
    opening_hours_text: Annotated[str, Meta(max_length=1000)] | None = None
    accessibility: Accessibility | None = None
    surface: Surface | None = None
    operator: Operator | None = None
    identifiers: tuple[Identifier, ...] = ()
    labels: tuple[Label, ...] = ()
    photos: tuple[Photo, ...] = ()
    license: License | None = None
    origin: Origin | None = None
    extensions: dict[str, Raw] = {}
