"""One way to write things down: text folded for comparing, JSON as RFC 8785 bytes.

Whatever is hashed, signed or sorted for all machines goes through here and through nothing that follows the
machine's locale or Python's Unicode tables.
"""

from typing import Any

import rfc8785

# Frozen on purpose: `str.lower` and `unicodedata` change with Python's Unicode version, digests may not.
LETTERS = {
    "a": "AÀÁÂÃÄÅàáâãäåĀāĂăĄąǍǎǞǟǠǡǺǻȀȁȂȃȦȧḀḁẠạẢảẤấẦầẨẩẪẫẬậẮắẰằẲẳẴẵẶặªａＡ",
    "ae": "ÆæǢǣǼǽ",
    "b": "BḂḃḄḅḆḇｂＢ",
    "c": "CÇçĆćĈĉĊċČčḈḉｃＣ",
    "d": "DÐðĎďĐđḊḋḌḍḎḏḐḑḒḓｄＤ",
    "dz": "ǄǅǆǱǲǳ",
    "e": "EÈÉÊËèéêëĒēĔĕĖėĘęĚěȄȅȆȇȨȩḔḕḖḗḘḙḚḛḜḝẸẹẺẻẼẽẾếỀềỂểỄễỆệｅＥ",
    "f": "FḞḟｆＦ",
    "ff": "ﬀ",
    "ffi": "ﬃ",
    "ffl": "ﬄ",
    "fi": "ﬁ",
    "fl": "ﬂ",
    "g": "GĜĝĞğĠġĢģǤǥǦǧǴǵḠḡｇＧ",
    "h": "HĤĥĦħȞȟḢḣḤḥḦḧḨḩḪḫẖｈＨ",
    "i": "IÌÍÎÏìíîïĨĩĪīĬĭĮįİıǏǐȈȉȊȋḬḭḮḯỈỉỊịｉＩ",
    "ij": "Ĳĳ",
    "j": "JĴĵǰｊＪ",
    "k": "KĶķĸǨǩḰḱḲḳḴḵｋＫ",
    "l": "LĹĺĻļĽľĿŀŁłḶḷḸḹḺḻḼḽｌＬ",
    "lj": "Ǉǈǉ",
    "m": "MḾḿṀṁṂṃｍＭ",
    "n": "NÑñŃńŅņŇňŉǸǹṄṅṆṇṈṉṊṋｎＮ",
    "ng": "Ŋŋ",
    "nj": "Ǌǋǌ",
    "o": "OÒÓÔÕÖØòóôõöøŌōŎŏŐőƠơǑǒǪǫǬǭǾǿȌȍȎȏȪȫȬȭȮȯȰȱṌṍṎṏṐṑṒṓỌọỎỏỐốỒồỔổỖỗỘộỚớỜờỞởỠỡỢợºｏＯ",
    "oe": "Œœ",
    "p": "PṔṕṖṗｐＰ",
    "q": "QｑＱ",
    "r": "RŔŕŖŗŘřȐȑȒȓṘṙṚṛṜṝṞṟｒＲ",
    "s": "SŚśŜŝŞşŠšſȘșṠṡṢṣṤṥṦṧṨṩẛｓＳ",
    "ss": "ßẞ",
    "t": "TŢţŤťŦŧȚțṪṫṬṭṮṯṰṱẗｔＴ",
    "th": "Þþ",
    "u": "UÙÚÛÜùúûüŨũŪūŬŭŮůŰűŲųƯưǓǔǕǖǗǘǙǚǛǜȔȕȖȗṲṳṴṵṶṷṸṹṺṻỤụỦủỨứỪừỬửỮữỰựｕＵ",
    "v": "VṼṽṾṿｖＶ",
    "w": "WŴŵẀẁẂẃẄẅẆẇẈẉẘｗＷ",
    "x": "XẊẋẌẍｘＸ",
    "y": "YÝýÿŶŷŸȲȳẎẏẙỲỳỴỵỶỷỸỹｙＹ",
    "z": "ZŹźŻżŽžẐẑẒẓẔẕｚＺ",
    "0": "⁰₀０",
    "1": "¹₁１",
    "2": "²₂２",
    "3": "³₃３",
    "4": "⁴₄４",
    "5": "⁵₅５",
    "6": "⁶₆６",
    "7": "⁷₇７",
    "8": "⁸₈８",
    "9": "⁹₉９",
}
SPACES = (
    "\t\n\v\f\r !\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~\u0085\u00a0¡¢£¤¥¦§¨©«¬®¯°±´¶·¸»¿×÷"
    "\u02b9\u02ba\u02bb\u02bc\u02bd\u02c6\u02c8\u02da\u02dc\u1680\u2028\u2029\u202f\u205f\u3000\u2122\u2116"
)
NOTHING = "\u00ad\u200b\u200c\u200d\u200e\u200f\u2060\ufe0e\ufe0f\ufeff"


def _table() -> dict[int, str]:
    table = {ord(letter): plain for plain, letters in LETTERS.items() for letter in letters}
    table |= {ord(mark): " " for mark in SPACES}
    # General punctuation: dashes, typographic apostrophes and quotes, bullets, primes, wide spaces.
    table |= dict.fromkeys([*range(0x2000, 0x200B), *range(0x2010, 0x2028), *range(0x2030, 0x205F)], " ")
    # Combining accents, so that composed and decomposed text fold to the same.
    table |= dict.fromkeys(range(0x0300, 0x0370), "")
    table |= dict.fromkeys(map(ord, NOTHING), "")
    return table


FOLDED = _table()


def fold(text: str) -> str:
    """Text for comparing: without accents, case and punctuation, ligatures opened, single spaces.

    Characters outside the table (Greek, Chinese, emoji, ...) pass unchanged. Folding twice changes nothing.
    """
    return " ".join([word for word in text.translate(FOLDED).split(" ") if word])


def jcs(value: Any) -> bytes:
    """Canonical JSON (RFC 8785) of plain JSON values.

    Raises `rfc8785.CanonicalizationError` for what has no such form: NaN, integers beyond 2**53, other types.
    """
    return rfc8785.dumps(value)
