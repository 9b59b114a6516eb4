#!/usr/bin/env python3
"""Writes src/tokenizers/unicode_tables.c.

    pip install unicodedata2==16.0.0 regex==2024.11.6 tokenizers==0.22.2
    python tools/make_unicode_tables.py > src/tokenizers/unicode_tables.c

General categories, word characters and grapheme breaks are those of Unicode 16: the regular expressions of
tokenizers 0.22.2 count by them. Other parts of that library carry other versions of Unicode (normalization forms 9,
punctuation and control characters about 8, lower case and numbers 17), so each of those sets is asked of the library itself,
code point by code point. Whatever is asked is checked against a rule where one is known.
"""
import sys

import regex
import unicodedata2 as u
from tokenizers import __version__ as tokenizers_version
from tokenizers import normalizers as N
from tokenizers import pre_tokenizers as P

assert u.unidata_version == "16.0.0" and tokenizers_version == "0.22.2"

MAX = 0x110000
CPS = [c for c in range(MAX) if not 0xD800 <= c < 0xE000]
CATS = "Cn Lu Ll Lt Lm Lo Mn Mc Me Nd Nl No Pc Pd Ps Pe Pi Pf Po Sm Sc Sk So Zs Zl Zp Cc Cf Cs Co".split()
GCB = "Other CR LF Control Extend ZWJ Regional_Indicator Prepend SpacingMark L V T LV LVT".split()


def prop(p):
    r = regex.compile(r"\p{%s}" % p, regex.V1)
    return {c for c in CPS if r.fullmatch(chr(c))}


def gone(n):
    return {c for c in CPS if n.normalize_str(chr(c)) == ""}


def alone(p):
    """Code points that p makes a piece of its own between two letters."""
    return {c for c in CPS if len(p.pre_tokenize_str("a" + chr(c) + "a")) == 3}


bert = lambda **k: N.BertNormalizer(**{**dict(clean_text=False, handle_chinese_chars=False, strip_accents=False, lowercase=False), **k})
cat = {c: u.category(chr(c)) for c in CPS}
alpha = prop("Alphabetic")
word = alpha | {c for c in CPS if cat[c][0] == "M" or cat[c] in ("Nd", "Pc")}
space = prop("White_Space")
flags = {
    "SPACE": space,
    "WORD": word,
    "NUMERIC": alone(P.Digits(individual_digits=True)),
    "PUNCT": alone(P.Punctuation("isolated")),
    "CONTROL": gone(bert(clean_text=True)) - {0, 0xFFFD} | {0},
    "MN": gone(bert(strip_accents=True)),
    "MARK": gone(N.StripAccents()),
    "HAN": prop("Script=Han"),
    "PICTO": prop("Extended_Pictographic"),
    "ALPHA": alpha,
}
assert {c for c in CPS if len(P.WhitespaceSplit().pre_tokenize_str("a" + chr(c) + "a")) == 2} == space and len(space) == 25

# lower case: one code point to one, but for U+0130
lowered = N.Lowercase()
lower = {}
for c in CPS:
    s = lowered.normalize_str(chr(c))
    if s != chr(c):
        assert len(s) == 1 or c == 0x130, hex(c)
        lower[c] = ord(s[0])
assert lowered.normalize_str("\u0130") == "i\u0307"

# normalization forms
nfd, nfkd, nfc, nfkc = N.NFD(), N.NFKD(), N.NFC(), N.NFKC()
canon, compat = {}, {}
for c in CPS:
    if 0xAC00 <= c <= 0xD7A3:
        continue
    d, k = nfd.normalize_str(chr(c)), nfkd.normalize_str(chr(c))
    if d != chr(c):
        canon[c] = d
    if k != chr(c):
        compat[c] = k
ccc = {}
for c in CPS:
    k = u.combining(chr(c))
    if k == 240 or (k and nfd.normalize_str("a\u0345" + chr(c))[1] != "\u0345"):
        ccc[c] = k
    if not k and c not in canon:
        assert nfd.normalize_str("a\u0345" + chr(c))[1:2] == "\u0345"
pairs = {}
for c in canon:
    d = u.decomposition(chr(c)).split()
    if len(d) == 2 and nfc.normalize_str(chr(c)) == chr(c):
        pairs[int(d[0], 16), int(d[1], 16)] = c
seconds = {b for _, b in pairs} | set(range(0x1161, 0x1176)) | set(range(0x11A8, 0x11C3))
hangul = set(range(0xAC00, 0xD7A4))
inert = {
    "NFC": {c for c in CPS if c not in ccc and c not in seconds and nfc.normalize_str(chr(c)) == chr(c)},
    "NFD": {c for c in CPS if c not in ccc and c not in canon and c not in hangul},
    "NFKC": {c for c in CPS if c not in ccc and c not in seconds and nfkc.normalize_str(chr(c)) == chr(c)},
    "NFKD": {c for c in CPS if c not in ccc and c not in compat and c not in hangul},
}
for k, v in inert.items():
    flags[k + "_INERT"] = v

# scripts of the pre-tokenizer UnicodeScripts: 0 is its Any, which never splits
us = P.UnicodeScripts()
parts = lambda s: len(us.pre_tokenize_str(s))
names, rep, script = {}, {}, {}
sc = {}
for name in "Common Inherited".split() + [m for m in """Latin Greek Cyrillic Armenian Hebrew Arabic Syriac Thaana Nko Samaritan Mandaic Devanagari Bengali Gurmukhi Gujarati
    Oriya Tamil Telugu Kannada Malayalam Sinhala Thai Lao Tibetan Myanmar Georgian Hangul Ethiopic Cherokee Canadian_Aboriginal Ogham Runic Tagalog Hanunoo Buhid Tagbanwa
    Khmer Mongolian Limbu Tai_Le New_Tai_Lue Buginese Tai_Tham Balinese Sundanese Batak Lepcha Ol_Chiki Glagolitic Tifinagh Coptic Han Bopomofo Hiragana Katakana Yi Lisu Vai
    Bamum Syloti_Nagri Phags_Pa Saurashtra Kayah_Li Rejang Javanese Cham Tai_Viet Meetei_Mayek Linear_B Lycian Carian Old_Italic Gothic Old_Permic Ugaritic Old_Persian Deseret
    Shavian Osmanya Osage Elbasan Caucasian_Albanian Linear_A Cypriot Imperial_Aramaic Palmyrene Nabataean Hatran Phoenician Lydian Meroitic_Hieroglyphs Meroitic_Cursive
    Kharoshthi Old_South_Arabian Old_North_Arabian Manichaean Avestan Inscriptional_Parthian Inscriptional_Pahlavi Psalter_Pahlavi Old_Turkic Old_Hungarian Brahmi Kaithi Sora_Sompeng
    Chakma Mahajani Sharada Khojki Multani Khudawadi Grantha Newa Tirhuta Siddham Modi Takri Ahom Warang_Citi Pau_Cin_Hau Bhaiksuki Marchen Cuneiform Egyptian_Hieroglyphs
    Anatolian_Hieroglyphs Mro Bassa_Vah Pahawh_Hmong Miao Tangut Duployan SignWriting Adlam Mende_Kikakui Braille""".split()]:
    for c in prop("Script=" + name):
        sc[c] = name
for c in CPS:
    a, b = parts(chr(c) + "A"), parts(chr(c) + "\u042f")
    if a == 1 and b == 1:
        continue  # Any
    guess = sc.get(c, "Common")
    if guess in ("Hiragana", "Katakana"):
        guess = "Han"
    if guess not in rep:
        rep[guess] = c
        names[guess] = len(names) + 1
    if parts(chr(rep[guess]) + chr(c)) != 1:
        for guess in rep:
            if parts(chr(rep[guess]) + chr(c)) == 1:
                break
        else:
            raise SystemExit("no script for U+%04X" % c)
    script[c] = names[guess]
values = sorted(rep.items())
for i, (n1, c1) in enumerate(values):
    for n2, c2 in values[i + 1:]:
        assert parts(chr(c1) + chr(c2)) == 2, (n1, n2)

# grapheme clusters
gcb = {}
for i, name in enumerate(GCB[1:], 1):
    for c in prop("Grapheme_Cluster_Break=" + name):
        gcb[c] = i
incb = {}
for i, name in enumerate(("Linker", "Consonant", "Extend"), 1):
    for c in prop("Indic_Conjunct_Break=" + name):
        incb[c] = i

order = ["SPACE", "WORD", "NUMERIC", "PUNCT", "CONTROL", "MN", "MARK", "HAN", "PICTO", "ALPHA", "NFC_INERT", "NFD_INERT", "NFKC_INERT", "NFKD_INERT"]
records, index, col = [], {}, [0] * MAX
for c in range(MAX):
    if 0xD800 <= c < 0xE000:
        r = (CATS.index("Cs"), 0, 0, 0, 0, 0, 0)
    else:
        f = sum(1 << i for i, k in enumerate(order) if c in flags[k])
        r = (CATS.index(cat[c]), f, script.get(c, 0), ccc.get(c, 0), gcb.get(c, 0), incb.get(c, 0), lower.get(c, c) - c)
    if r not in index:
        index[r] = len(records)
        records.append(r)
    col[c] = index[r]

pool, places, entries, entry_of, dcol = [], {}, [], {}, [0] * MAX


def place(s):
    if s not in places:
        places[s] = len(pool)
        pool.extend(map(ord, s))
    return places[s]


entries.append((0, 0, 0, 0))
for c in sorted(set(canon) | set(compat)):
    d, k = canon.get(c, ""), compat.get(c, canon.get(c, ""))
    entry_of[c] = dcol[c] = len(entries)
    entries.append((place(d) if d else 0, len(d), place(k), len(k)))


def two_stage(column, bits):
    blocks, first, second = {}, [], []
    for i in range(0, MAX, 1 << bits):
        b = tuple(column[i:i + (1 << bits)])
        if b not in blocks:
            blocks[b] = len(blocks)
            second.extend(b)
        first.append(blocks[b])
    return first, second


def emit(decl, xs, per=24):
    print("%s = {" % decl)
    for i in range(0, len(xs), per):
        print("    " + ",".join(map(str, xs[i:i + per])) + ",")
    print("};\n")


print("/* Made by tools/make_unicode_tables.py; see there. Do not edit. */\n// clang-format off\n#include \"tokenizers/unicode.h\"\n")
first, second = two_stage(col, 7)
assert len(first) == MAX >> 7 and max(second) < 65536
emit("const uint16_t uc_stage1[%d]" % len(first), first)
emit("const uint16_t uc_stage2[%d]" % len(second), second)
print("const uc_record uc_records[%d] = {" % len(records))
for r in records:
    print("    {%d, %d, %d, %d, %d, %d, %d}," % (r[6], r[1], r[0], r[2], r[3], r[4], r[5]))
print("};\n")
first, second = two_stage(dcol, 6)
emit("const uint16_t uc_decomp1[%d]" % len(first), first)
emit("const uint16_t uc_decomp2[%d]" % len(second), second)
print("const uc_decomp uc_decomps[%d] = {" % len(entries))
for e in entries:
    print("    {%d, %d, %d, %d}," % (e[0], e[2], e[1], e[3]))
print("};\n")
emit("const uint32_t uc_decomp_pool[%d]" % len(pool), pool, 16)
print("const size_t uc_n_pairs = %d;" % len(pairs))
print("const uc_pair uc_pairs[%d] = {" % len(pairs))
for (a, b), c in sorted(pairs.items()):
    print("    {%d, %d, %d}," % (a, b, c))
print("};\n")
# what the regular expressions of the system (PCRE2 10.42: Unicode 14, as this Python's unicodedata) count otherwise
import unicodedata as old

assert old.unidata_version == "14.0.0"
ranges = []
for c in CPS:
    if old.category(chr(c)) != cat[c]:
        if ranges and ranges[-1][1] == c - 1 and ranges[-1][2] == cat[c]:
            ranges[-1][1] = c
        else:
            ranges.append([c, c, cat[c]])
print("const size_t uc_n_newer = %d;" % len(ranges))
print("const uc_range uc_newer[%d] = {" % len(ranges))
for a, b, k in ranges:
    print("    {%d, %d, %d}," % (a, b, CATS.index(k)))
print("};")
print("%d records, %d decompositions, %d pairs, %d scripts" % (len(records), len(entries), len(pairs), len(names)), file=sys.stderr)
