"""The lines for make_tokenizer_golden.py: text that people write, and text that breaks tokenizers.

lines() yields (kind, bytes, parse_special). Deterministic: one seeded generator for each kind, so that a change to one
leaves the others as they are. Real text is what lies in this repository (two public-domain books, our own sources) and
the common licences where the system has them; everything else is generated from Unicode's own tables.
"""
import pathlib
import random
import unicodedata

SENTENCES = [  # Article 1 of the Universal Declaration of Human Rights, and greetings
    "All human beings are born free and equal in dignity and rights.",
    "Tous les êtres humains naissent libres et égaux en dignité et en droits.",
    "Alle Menschen sind frei und gleich an Würde und Rechten geboren.",
    "Todos los seres humanos nacen libres e iguales en dignidad y derechos.",
    "Todos os seres humanos nascem livres e iguais em dignidade e em direitos.",
    "Tutti gli esseri umani nascono liberi ed eguali in dignità e diritti.",
    "Alle mensen worden vrij en gelijk in waardigheid en rechten geboren.",
    "Alla människor är födda fria och lika i värde och rättigheter.",
    "Kaikki ihmiset syntyvät vapaina ja tasavertaisina arvoltaan ja oikeuksiltaan.",
    "Wszyscy ludzie rodzą się wolni i równi pod względem swej godności i swych praw.",
    "Všichni lidé se rodí svobodní a sobě rovní co do důstojnosti a práv.",
    "Minden emberi lény szabadon születik és egyenlő méltósága és joga van.",
    "Toate ființele umane se nasc libere și egale în demnitate și în drepturi.",
    "Bütün insanlar hür, haysiyet ve haklar bakımından eşit doğarlar.",
    "Tất cả mọi người sinh ra đều được tự do và bình đẳng về nhân phẩm và quyền lợi.",
    "Όλοι οι άνθρωποι γεννιούνται ελεύθεροι και ίσοι στην αξιοπρέπεια και τα δικαιώματα.",
    "Все люди рождаются свободными и равными в своём достоинстве и правах.",
    "Всі люди народжуються вільними і рівними у своїй гідності та правах.",
    "Բոլոր մարդիկ ծնվում են ազատ ու հավասար՝ իրենց արժանապատվությամբ և իրավունքներով։",
    "ყველა ადამიანი იბადება თავისუფალი და თანასწორი თავისი ღირსებითა და უფლებებით.",
    "כל בני האדם נולדו בני חורין ושווים בערכם ובזכויותיהם.",
    "يولد جميع الناس أحرارًا متساوين في الكرامة والحقوق.",
    "تمام افراد بشر آزاد به دنیا می‌آیند و از لحاظ حیثیت و حقوق با هم برابرند.",
    "सभी मनुष्यों को गौरव और अधिकारों के मामले में जन्मजात स्वतन्त्रता और समानता प्राप्त है।",
    "সমস্ত মানুষ স্বাধীনভাবে সমান মর্যাদা এবং অধিকার নিয়ে জন্মগ্রহণ করে।",
    "மனிதப் பிறிவியினர் சகலரும் சுதந்திரமாகவே பிறக்கின்றனர்.",
    "మానవులందరూ స్వేచ్ఛతో సమానత్వంతో జన్మించారు.",
    "มนุษย์ทั้งปวงเกิดมามีอิสระและเสมอภาคกันในศักดิ์ศรีและสิทธิ",
    "ມະນຸດທຸກຄົນເກີດມາມີກຽດສັກສີ", "မြန်မာစာ", "ភាសាខ្មែរ", "བོད་སྐད་",
    "人人生而自由，在尊严和权利上一律平等。", "人人生而自由，在尊嚴和權利上一律平等。",
    "すべての人間は、生まれながらにして自由であり、かつ、尊厳と権利とについて平等である。",
    "모든 인간은 태어날 때부터 자유로우며 그 존엄과 권리에 있어 동등하다.",
    "ሰላም ለዓለም።", "ᓄᓇᕗᑦ", "ᏣᎳᎩ ᎦᏬᏂᎯᏍᏗ", "Habari za asubuhi, rafiki yangu?", "Hǣlþ, wes þū hāl!",
]
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<repo_name>", "<reponame>", "<file_sep>", "<filename>",
           "<gh_stars>", "<issue_start>", "<issue_comment>", "<issue_closed>", "<jupyter_start>", "<jupyter_text>",
           "<jupyter_code>", "<jupyter_output>", "<jupyter_script>", "<empty_output>"]
SPACES = " " * 8 + "\t\t\n\n\n\r\x0b\x0c\x1c\x1d\x1f\x85\xa0\u1680\u180e\u2000\u2003\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff"
EMOJI = ["😀", "🙂", "❤️", "❤", "👍🏽", "👩‍👩‍👧‍👦", "🏳️‍🌈", "🏴󠁧󠁢󠁥󠁮󠁧󠁿", "🇩🇪", "🇯🇵", "1️⃣", "#️⃣", "🧑🏿‍🚀", "👨‍❤️‍💋‍👨", "🫠", "🪿",
         "🐦‍⬛", "©️", "™", "☠︎", "🤷‍♀️", "🦰", "‍", "️", "🏽"]
CONTRACTIONS = ["'s", "'t", "'re", "'ve", "'m", "'ll", "'d", "'S", "'T", "'RE", "'Ve", "'LL", "'D", "’s", "’ll", "''",
                "'", "'st", "'tis", "'rem", "'lll", "'v", "'r", "'l", "'ſ"]
WORDS = ("the of attention it they cannot don't I'm head 7 key value weight x_y camelCase HTTPServer a.b naïve Straße "
         "don 42nd 3.14 1e-9 0x1F foo_bar() e.g. --flag https://example.org/a?b=c&d=%20 user@example.org 中文 рус").split()


def repository_lines(folder, count, rng):
    root = folder.parent.parent
    books = [line for name in ("tom-sawyer.txt", "opticks.txt")
             for line in (folder / "text" / name).read_text().split("\n")]
    code = [line for part in ("include", "src", "tests", "viewer/src", "tools", "python")
            for path in sorted((root / part).rglob("*"))
            if path.suffix in (".h", ".cc", ".py", ".ts", ".tsx", ".css") and "node_modules" not in path.parts
            for line in path.read_text().split("\n")]
    licences = [line for name in ("Apache-2.0", "GPL-3", "Artistic", "BSD")
                for path in [pathlib.Path("/usr/share/common-licenses") / name] if path.exists()
                for line in path.read_text().split("\n")]
    for kind, text, share in (("book", books, 0.4), ("code", code, 0.45), ("licence", licences, 0.15)):
        n = min(int(count * share), len(text))
        start = rng.randrange(len(text) - n + 1) if n else 0
        for line in text[start:start + n]:
            yield kind, line
    for text in (books, code):  # and whole paragraphs, line ends included
        for _ in range(100):
            at = rng.randrange(max(1, len(text) - 8))
            yield "paragraph", "\n".join(text[at:at + rng.randint(2, 8)])


def numbers(rng):
    zeros = [c for c in range(0x110000) if unicodedata.category(chr(c)) == "Nd" and unicodedata.digit(chr(c)) == 0]
    other = [chr(c) for c in range(0x30000) if unicodedata.category(chr(c)) in ("Nl", "No")]
    while True:
        form = rng.randrange(9)
        n = rng.randrange(10 ** rng.randint(1, 18))
        zero = rng.choice(zeros)
        yield [f"{n}", f"{n / 997:.{rng.randint(0, 9)}f}", f"{n:,}", f"{n:#x}", f"-{n}e{rng.randint(-300, 300)}",
               f"{n % 3000:04}-{n % 12 + 1:02}-{n % 28 + 1:02}T{n % 24:02}:{n % 60:02}Z",
               "".join(chr(zero + int(d)) for d in str(n)),
               " ".join(rng.choice(other) + rng.choice(["", "x", "3", " "]) for _ in range(rng.randint(1, 9))),
               f"  {n}  {n % 7}a{n % 13} \n{n}\t{n % 10}"][form]


def scripts(rng):
    by_script = {}
    for c in [*range(0xA0, 0x3400), *range(0xA000, 0xAC00), *range(0xF900, 0xFB00), *range(0xFB00, 0x10000, 3),
              *range(0x10000, 0x20000), *range(0x3400, 0xA000, 97), *range(0xAC00, 0xD7A4, 53)]:
        name = unicodedata.name(chr(c), "")
        if name:
            by_script.setdefault(name.split()[0], []).append(chr(c))
    names = sorted(name for name, members in by_script.items() if len(members) > 7)
    while True:
        for name in names:
            members = by_script[name]
            yield " ".join("".join(rng.choices(members, k=rng.randint(1, 7))) for _ in range(rng.randint(1, 6)))


def spaces(rng):
    while True:
        yield "".join("".join(rng.choices(SPACES, k=rng.randint(1, 6))) + rng.choice(WORDS + ["", ".", "1"])
                      for _ in range(rng.randint(1, 8))) + rng.choice(["", " ", "  ", "\n", " \n ", "\t\t"])


def contractions(rng):
    while True:
        yield "".join(rng.choice(WORDS + ["", " ", "5", "\n", "…"]) + rng.choice(CONTRACTIONS) + rng.choice(["", " ", "  "])
                      for _ in range(rng.randint(1, 7)))


def emoji(rng):
    while True:
        yield "".join(rng.choice(EMOJI) * rng.choice([1, 1, 2, 3]) + rng.choice(["", "", " ", "a", ".", "4"])
                      for _ in range(rng.randint(1, 10)))


def controls(rng, unspellable):
    all_of_them = [chr(c) for c in [*range(0x20), *range(0x7F, 0xA0)]]
    some = [c for c in all_of_them if c not in "\x04\x06\x13\x14\x16\x1d"]
    while True:
        line = "".join(rng.choice(["", " ", "a", "word", "1", "."]) + rng.choice(all_of_them if unspellable else some)
                       for _ in range(rng.randint(1, 9)))
        yield line


def special(rng):
    while True:
        yield "".join(rng.choice(["", "", " ", "user\n", "Hello", "\n", "<|", "|>", "<", "7", "é"]) +
                      rng.choice(SPECIAL + ["<|im_start|", "im_end|>", "<|IM_END|>", "<|im_start|><|im_start|>"])
                      for _ in range(rng.randint(1, 5))) + rng.choice(["", " ", "  x", "\n", "."])


def invalid(rng):
    parts = [b"\x80", b"\xbf", b"\xc3", b"\xe2\x82", b"\xf0\x9f", b"\xf0\x9f\x98", b"\xed\xa0\x80", b"\xed\xbf\xbf",
             b"\xed\xa0\xbd\xed\xb8\x80", b"\xfe", b"\xff", b"\xff\xfe", b"\xf8\x88\x80\x80\x80", b"\xe9t\xe9",
             b"\xef\xbf", b"\xef\xbf\xbd", b"\xef", b"\xe1\x80\xe2\xf0\x91\x92\xf1\xbf\x41", b"\x92", b"\x93\x94",
             b"\xe0\x80", b"\xf4\x90"]
    insane = [b"\xc0\x80", b"\xc1\x81", b"\xe0\x80\x80", b"\xf0\x80\x80\x80", b"\xf4\x90\x80\x80", b"\xf5\x80\x80\x80"]
    while True:
        line = b"".join(rng.choice([b"", b" ", b"a", b"word ", b"\n", b"1", b"'s", "é".encode(), b"  "]) +
                        rng.choice(insane if rng.random() < 0.02 else parts) for _ in range(rng.randint(1, 6)))
        yield line + rng.choice([b"", b"x", b" "])


def noise(rng):
    while True:
        yield bytes(rng.randrange(256) for _ in range(rng.randint(1, 40)))


def runs(rng):
    units = ["a", "A", " ", "\n", "\t", "0", "9", "-", "=", "*", "_", ".", "ab", "é", "漢", "🙂", "\r\n", " \n", "Ġ", "'", "'s",
             "ha", "\u0301", "\xa0", "//", "0x", "\x00"]
    while True:
        for unit in units:
            yield rng.choice(["", "x", " "]) + unit * rng.randint(20, 900) + rng.choice(["", "y", " z", "1"])


def code_points(rng):
    while True:
        # Not planes 4 to 11: nothing is assigned there, and their lead bytes have no token in this vocabulary.
        ranges = [(0, 0x300), (0, 0xD800), (0xE000, 0x10000), (0x10000, 0x40000), (0xE0000, 0xE0200), (0xF0000, 0x10FFFF)]
        low, high = rng.choice(ranges)
        text = "".join(chr(rng.randrange(low, high)) + rng.choice(["", "", " ", "a"]) for _ in range(rng.randint(1, 12)))
        yield text.translate({c: None for c in (4, 6, 0x13, 0x14, 0x16, 0x1D)})


def mixture(rng, others):
    while True:
        yield rng.choice(["", " ", "\n", "\t"]).join(next(rng.choice(others)) for _ in range(rng.randint(2, 4)))


def lines(folder):
    def rng(name):
        return random.Random(f"bare attention {name}")

    def take(kind, source, count, parse_special=False):
        for _ in range(count):
            line = next(source)
            yield kind, line if isinstance(line, bytes) else line.encode(), parse_special

    yield "empty", b"", False
    for kind, line in repository_lines(folder, 5000, rng("repository")):
        yield kind, line.encode(), False
    sentences = SENTENCES
    for _ in range(8):  # whole, then the halves of different languages joined
        for sentence in sentences:
            yield "language", sentence.encode(), False
        sentences = [b[:len(b) // 2] + a[len(a) // 2:] for a, b in zip(sentences, sentences[1:] + sentences[:1])]
    yield from take("number", numbers(rng("numbers")), 900)
    yield from take("script", scripts(rng("scripts")), 1200)
    yield from take("space", spaces(rng("spaces")), 900)
    yield from take("contraction", contractions(rng("contractions")), 600)
    yield from take("emoji", emoji(rng("emoji")), 600)
    yield from take("control", controls(rng("controls"), False), 300)
    yield from take("unspellable", controls(rng("unspellable"), True), 200)
    yield from take("special text", special(rng("special text")), 200, False)
    yield from take("special", special(rng("special")), 400, True)
    yield from take("invalid", invalid(rng("invalid")), 900)
    yield from take("invalid special", mixture(rng("is"), [special(rng("is1"))]), 60, True)
    yield from take("noise", noise(rng("noise")), 250)
    for kind, raw, _ in take("replaced", invalid(rng("replaced")), 300):  # what HF makes of invalid text: a str
        yield kind, raw.decode(errors="replace").encode(), False
    yield from take("run", runs(rng("runs")), 160)
    yield from take("code point", code_points(rng("code points")), 700)
    sources = [numbers(rng("m1")), scripts(rng("m2")), spaces(rng("m3")), contractions(rng("m4")), emoji(rng("m5"))]
    yield from take("mixture", mixture(rng("mixture"), sources), 900)


def sweep_block(first):
    """256 code points, each alone after a space, doubled, between letters, after a sign, and before a contraction."""
    text = ""
    for c in range(first, first + 256):
        if not 0xD800 <= c < 0xE000:
            x = chr(c)
            text += f" {x}{x}  {x} a{x}b .{x}!{x}'s\n{x}  "
    return text
