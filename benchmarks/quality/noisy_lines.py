"""Lines of the web that are in no language, made by a seed, and short sound lines that are in one.

Noise has twelve kinds: left-overs of markup, symbols, menus, lists of names, product codes, mixed scripts, addresses, emoji,
hashes and base64, dirt of text recognition, repeated characters. The right answer to noise is "und".
"""

from __future__ import annotations

import base64
import random
import string
from collections.abc import Callable
from typing import Final

GIVEN: Final = [
    "Anna",
    "Björn",
    "Chen",
    "Dmitri",
    "Elif",
    "Fatima",
    "Giulia",
    "Hiroshi",
    "Ines",
    "Jamal",
    "Katarzyna",
    "Luca",
    "Mei",
    "Nkechi",
    "Olga",
    "Pedro",
    "Quentin",
    "Rajesh",
    "Siobhan",
    "Tomáš",
    "Ursula",
    "Vusi",
    "Wanjiru",
    "Xavier",
    "Yuki",
    "Zoltan",
    "Aisha",
    "Bogdan",
    "Carmen",
    "Dieter",
    "Esra",
    "Femi",
    "Goran",
    "Hanna",
    "Ivan",
    "Joao",
    "Kofi",
    "Lars",
    "Marta",
]
FAMILY: Final = [
    "Müller",
    "Novák",
    "Okafor",
    "Petrov",
    "Quispe",
    "Rossi",
    "Sato",
    "Tanaka",
    "Ueda",
    "Virtanen",
    "Wang",
    "Xu",
    "Yılmaz",
    "Zhang",
    "Andersson",
    "Baptiste",
    "Castillo",
    "Dlamini",
    "Eriksen",
    "Fernandes",
    "García",
    "Horvat",
    "Ivanov",
    "Jensen",
    "Kowalski",
    "Lindqvist",
    "Mwangi",
    "Nguyen",
    "O'Brien",
    "Papadopoulos",
    "Rahman",
    "Singh",
    "Tremblay",
]
CYRILLIC: Final = [
    "Иванов",
    "Петров",
    "Сидоров",
    "Кузнецов",
    "Анна",
    "Мария",
    "Олег",
    "Сергей",
    "Ольга",
    "Татьяна",
    "Новиков",
    "Морозов",
    "Волков",
    "Лебедев",
]
CHINESE: Final = [
    "张伟",
    "王芳",
    "李娜",
    "刘洋",
    "陈静",
    "杨敏",
    "赵磊",
    "黄丽",
    "周强",
    "吴霞",
    "徐勇",
    "孙燕",
    "胡军",
    "朱杰",
    "高明",
    "林涛",
]
BRANDS: Final = [
    "Nokia",
    "Canon",
    "Bosch",
    "Makita",
    "Sony",
    "Philips",
    "Dell",
    "Asus",
    "Garmin",
    "Shimano",
    "Karcher",
    "Siemens",
    "Casio",
    "Braun",
    "Lenovo",
    "Epson",
]
MENU: Final = [
    "Home",
    "About",
    "Contact",
    "Login",
    "FAQ",
    "News",
    "Blog",
    "Shop",
    "Impressum",
    "Kontakt",
    "Accueil",
    "Inicio",
    "Top",
    "Archiv",
    "RSS",
    "Forum",
    "Downloads",
    "Sitemap",
    "Help",
    "Galerie",
    "Events",
    "Jobs",
    "Links",
    "English",
    "Deutsch",
    "Français",
    "Start",
    "Menu",
    "Search",
    "Info",
    "Service",
    "Produkte",
    "Team",
    "Press",
    "About us",
]
UNITS: Final = ["GB", "mm", "kg", "W", "V", "mAh", "Hz", "px", "pcs", "L", "dB", "EUR", "USD", "RMB"]
SAMPLES: Final = (
    "дом", "море", "नमस्ते", "घर", "你好", "学校", "سلام", "بيت", "γη", "λόγος", "שלום", "สวัสดี", "ありがとう", "안녕",
    "house", "livre", "Wasser", "czas", "ܫܠܡܐ", "ქართული", "հայ", "ትግርኛ", "தமிழ்", "বাংলা",
)  # fmt: skip
EMOJI: Final = "😀😂🥰🔥✨🎉👍🙏💯🚀🍕⚽🎵💔🌈🐱❤️‍🔥🇫🇷🇯🇵☀️✅❌➡️📌🆕"
TAGS: Final = [
    "div",
    "span",
    "td",
    "tr",
    "li",
    "ul",
    "href",
    "class",
    "style",
    "width",
    "height",
    "nbsp",
    "px",
    "margin",
    "padding",
    "border",
    "table",
    "script",
    "img",
    "src",
    "alt",
    "onclick",
]
_ALNUM: Final = string.ascii_letters + string.digits


def _pick(rng: random.Random, items: tuple[str, ...] | list[str], low: int, high: int) -> list[str]:
    return [rng.choice(items) for _ in range(rng.randint(low, high))]


def _markup(rng: random.Random) -> str:
    tags = _pick(rng, TAGS, 4, 9)
    kinds = (
        lambda: "".join(
            f"</{tag}>" if rng.random() < 0.5 else f'<{tag} class="{rng.choice(TAGS)}{rng.randint(1, 99)}">'
            for tag in tags
        ),
        lambda: " ".join(f"{tag}:{rng.randint(0, 999)}px;" for tag in tags),
        lambda: "&nbsp;".join(f"&#{rng.randint(100, 9999)};" for _ in tags),
        lambda: "{{" + "|".join(f"{tag}={rng.randint(0, 99)}" for tag in tags) + "}}",
        lambda: (
            f"var {tags[0]}=document.getElementById('{tags[1]}');if({tags[0]}!=null){{{tags[0]}.{tags[2]}={rng.randint(0, 9)};}}"
        ),
        lambda: '{"' + '","'.join(f'{tag}":{rng.randint(0, 9999)},"{tag[0]}' for tag in tags) + '":null}',
        lambda: f".{tags[0]}-{tags[1]} > .{tags[2]}::after {{ {tags[3]}: {rng.randint(1, 50)}em !important; }}",
    )
    return rng.choice(kinds)()


def _symbols(rng: random.Random) -> str:
    parts = _pick(
        rng,
        ["»", "|", "«", "1", "2", "3", "...", "›", "►", "[+]", "A", "B", "C", "–", "•", "<<", ">>", "10", "Z"],
        8,
        24,
    )
    return rng.choice((" ", " | ", "  ")).join(parts)


def _names(rng: random.Random) -> str:
    kind = rng.random()
    if kind < 0.15:
        return rng.choice(("、", "，", " ")).join(_pick(rng, CHINESE, 5, 12))
    if kind < 0.3:
        return ", ".join(" ".join(_pick(rng, CYRILLIC, 2, 2)) for _ in range(rng.randint(3, 8)))
    joint = rng.choice((", ", " · ", "; ", " | ", " / "))
    return joint.join(f"{rng.choice(GIVEN)} {rng.choice(FAMILY)}" for _ in range(rng.randint(3, 9)))


def _names_in_a_row(rng: random.Random) -> str:
    return " ".join(f"{rng.choice(GIVEN)} {rng.choice(FAMILY)}" for _ in range(rng.randint(3, 8)))


def _menu(rng: random.Random) -> str:
    words = _pick(rng, MENU, 5, 10)
    return rng.choice((" | ", " » ", " · ", " / ", " > ", " • ")).join(words)


def _codes(rng: random.Random) -> str:
    def code() -> str:
        letters = "".join(_pick(rng, list(string.ascii_uppercase), 1, 4))
        return f"{letters}{rng.choice(('-', '', '/'))}{rng.randint(10, 99999)}{rng.choice(('', 'B', 'XL', '-A'))}"

    parts = [rng.choice(BRANDS)]
    for _ in range(rng.randint(3, 8)):
        parts.append(
            rng.choice(
                (code(), f"{rng.randint(1, 5000)}{rng.choice(('', ' '))}{rng.choice(UNITS)}", rng.choice(BRANDS))
            )
        )
    return " ".join(parts)


def _scripts(rng: random.Random) -> str:
    words = list(SAMPLES)
    rng.shuffle(words)
    return rng.choice((" ", ", ", " / ")).join(words[: rng.randint(5, 12)])


def _addresses(rng: random.Random) -> str:
    def address() -> str:
        host = "".join(_pick(rng, list(string.ascii_lowercase), 4, 12))
        path = "/".join("".join(_pick(rng, list(_ALNUM), 2, 9)) for _ in range(rng.randint(0, 4)))
        return (
            rng.choice(("https://www.", "http://", "www.", "ftp://", "//cdn."))
            + f"{host}.{rng.choice(('com', 'org', 'cn', 'de'))}/{path}"
        )

    mail = f"{rng.choice(GIVEN).lower()}@{rng.choice(BRANDS).lower()}.net"
    return " ".join([address() for _ in range(rng.randint(1, 4))] + ([mail] if rng.random() < 0.4 else []))


def _emoji(rng: random.Random) -> str:
    return "".join(_pick(rng, list(EMOJI), 4, 30)) + rng.choice(("", " #ok", " @x_1", " lol", " !!!", " xD"))


def _hashes(rng: random.Random) -> str:
    size = rng.randint(16, 60)
    data = rng.randbytes(size)
    kinds = (
        data.hex,
        lambda: base64.b64encode(data).decode(),
        lambda: base64.b32encode(data).decode(),
        lambda: " ".join(data[start : start + 4].hex() for start in range(0, size, 4)),
        lambda: f"sha256:{data.hex()} {rng.randint(1, 9999)} {data[:6].hex()}",
        lambda: " ".join("".join(_pick(rng, list(_ALNUM), 6, 14)) for _ in range(rng.randint(2, 7))),
    )
    return rng.choice(kinds)()


def _dirt(rng: random.Random) -> str:
    signs = list("|l1Ii!;:.,'`^~_-=+*•■□§¤°©®¬¦«»()[]{}") + list("aetnrsocmvwxkdbpqjgz")
    return " ".join("".join(_pick(rng, signs, 1, 5)) for _ in range(rng.randint(8, 25)))


def _repeats(rng: random.Random) -> str:
    one = rng.choice(("a", "哈", "x", "-", "ха", "zz", "lo", "=", "o", "ง", "h", "w", "m", "的"))
    return rng.choice(("", " ")).join([one] * rng.randint(12, 60)) + rng.choice(("", "!!!", " ???"))


NOISE: Final[dict[str, Callable[[random.Random], str]]] = {
    "markup": _markup,
    "symbols": _symbols,
    "names": _names,
    "names in a row": _names_in_a_row,
    "menus": _menu,
    "codes": _codes,
    "mixed scripts": _scripts,
    "addresses": _addresses,
    "emoji": _emoji,
    "hashes": _hashes,
    "recognition dirt": _dirt,
    "repeats": _repeats,
}


def noisy_lines(count: int, seed: int = 0) -> list[tuple[str, str]]:
    """`count` pairs (kind, line), the kinds in turn. The same for the same seed."""
    rng = random.Random(seed)
    kinds = list(NOISE)
    return [(kind, NOISE[kind](rng)) for kind in (kinds[number % len(kinds)] for number in range(count))]


SOUND: Final[tuple[tuple[str, str], ...]] = (
    ("en", "The shop opens at nine."),
    ("en", "I lost my keys again!"),
    ("en", "Call me on 555 0134 after lunch, please."),
    ("en", "Read the full story at https://news.example.org/a/17"),
    ("en", "Is iPhone 15 better than the Galaxy S24?"),
    ("de", "Der Zug kommt heute später."),
    ("de", "Hast du schon gegessen?"),
    ("fr", "Il pleut depuis hier soir."),
    ("fr", "Où est la gare, s'il vous plaît ?"),
    ("es", "Mañana vamos a la playa."),
    ("es", "¿Cuánto cuesta este libro?"),
    ("it", "Il gatto dorme sul divano."),
    ("pt", "Não sei onde ele mora."),
    ("nl", "Het regent de hele dag."),
    ("sv", "Jag har inte tid idag."),
    ("da", "Hvad hedder din søster?"),
    ("nb", "Jeg liker ikke å vente lenge på bussen."),
    ("fi", "Huomenna sataa lunta."),
    ("et", "Ma ei tea, kus ta elab."),
    ("is", "Hvar er lyklarnir mínir?"),
    ("pl", "Nie mam dzisiaj czasu."),
    ("cs", "Kde je nejbližší nádraží?"),
    ("sk", "Dnes večer ideme do kina."),
    ("hu", "Holnap korán kell kelnem."),
    ("ro", "Unde este gara cea mai apropiată?"),
    ("tr", "Bugün hava çok güzel."),
    ("vi", "Hôm nay trời rất đẹp."),
    ("id", "Saya tidak tahu di mana dia tinggal."),
    ("sw", "Watoto wanacheza mpira nje ya shule."),
    ("eu", "Gaur ez dut denborarik."),
    ("ca", "Avui no tinc gens de temps."),
    ("gl", "Hoxe non teño tempo para iso."),
    ("cy", "Mae hi'n bwrw glaw heddiw."),
    ("ga", "Tá sé ag cur báistí inniu."),
    ("ru", "Сегодня очень холодно."),
    ("ru", "Где мои ключи от дома?"),
    ("uk", "Я не знаю, де він живе."),
    ("bg", "Не знам къде живее тя."),
    ("sr", "Не знам где он сада живи."),
    ("kk", "Бүгін ауа райы өте жақсы."),
    ("el", "Πού είναι ο σταθμός;"),
    ("ar", "أين تقع محطة القطار؟"),
    ("fa", "امروز هوا خیلی خوب است."),
    ("ur", "آج موسم بہت اچھا ہے۔"),
    ("ug", "بۈگۈن ھاۋا بەك ياخشى."),
    ("he", "איפה תחנת הרכבת?"),
    ("hi", "आज मौसम बहुत अच्छा है।"),
    ("bn", "আজ আবহাওয়া খুব ভালো।"),
    ("ta", "இன்று வானிலை நன்றாக உள்ளது."),
    ("te", "ఈరోజు వాతావరణం బాగుంది."),
    ("th", "วันนี้อากาศดีมาก"),
    ("ka", "დღეს კარგი ამინდია."),
    ("hy", "Այսօր եղանակը լավ է։"),
    ("am", "ዛሬ አየሩ ጥሩ ነው።"),
    ("bo", "དེ་རིང་གནམ་གཤིས་ཡག་པོ་འདུག"),
    ("km", "ថ្ងៃនេះអាកាសធាតុល្អណាស់។"),
    ("my", "ဒီနေ့ ရာသီဥတု ကောင်းတယ်။"),
    ("ja", "今日はとても暑いですね。"),
    ("ko", "오늘 날씨가 정말 좋네요."),
    ("zh-Hans", "今天天气真好，我们出去走走吧。"),
    ("zh-Hans", "这部手机用的是USB-C接口。"),
    ("zh-Hant", "這間餐廳的菜很好吃。"),
    ("zh-Hant", "請問最近的車站在哪裡？"),
    ("yue", "我哋聽日去邊度食飯呀？"),
    ("wuu", "侬今朝夜到有空伐？"),
    ("nan", "阮明仔載欲去市場買菜。"),
)
"""Short lines that are in a language, and which: written for this file."""
