"""What each kind of page holds. A function makes the main part of one page into a `Body` and returns its title."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from typing import Final

from benchmarks.quality.pages.body import Body


def forum(body: Body) -> str:
    """A thread: posts with authors, ranks, quotes, signatures and buttons; gold is what people wrote."""
    p, rng = body.prose, body.rng
    title = p.title()
    style = rng.randrange(6)
    body.text("h1" if style else "h2", title, ' class="thread-title"')
    said = p.sentence()
    for number in range(rng.randint(5, 14)):
        author, date = (
            p.name(),
            f"2024-0{rng.randint(1, 9)}-{rng.randint(10, 28)} {rng.randint(10, 23)}:{rng.randint(10, 59)}",
        )
        rank = p.pick(
            f"Senior Member · Posts: {rng.randint(9, 9000)} · Joined: Mar 2015",
            f"高级会员 · 帖子 {rng.randint(9, 9000)} · 注册时间 2015-03",
        )
        avatar = f'<img src="/avatars/{number}.png" alt="avatar" width=64>'
        opened, closed = {
            0: (
                f'<table class="tborder" width="100%"><tr><td class="alt2" width="150">{author}<br>{rank}<br>{avatar}</td><td class="alt1">'
                f'<div class="smallfont">#{number + 1} · {date}</div><div id="post_message_{number}">',
                "</div></td></tr></table>",
            ),
            1: (
                f'<div id="p{number}" class="post has-profile bg{number % 2 + 1}"><dl class="postprofile"><dt>{avatar}{author}</dt><dd>{rank}</dd></dl>'
                f'<div class="postbody"><p class="author">» {date}</p><div class="content">',
                "</div></div></div>",
            ),
            2: (
                f'<article data-post-id="{number}" class="boxed"><div class="topic-avatar">{avatar}</div><div class="topic-body">'
                f'<div class="names"><a href="/u/{number}">{author}</a> <span>{date}</span></div><div class="cooked">',
                "</div></div></article>",
            ),
            3: (
                f'<div class="flex gap-4 border-b"><div class="w-32 text-sm">{avatar}<div>{author}</div><div>{rank}</div></div>'
                f'<div class="flex-1"><div class="text-xs text-gray-500">{date}</div><div class="text-base">',
                "</div></div></div>",
            ),
            4: (
                f'<ol class="comment-list"><li class="comment even thread-even depth-1" id="comment-{number}"><div class="comment-author vcard">{avatar}'
                f'<cite>{author}</cite></div><div class="comment-meta"><a href="#c{number}">{date}</a></div><div class="comment-content">',
                "</div></li></ol>",
            ),
            5: (f"<div><div><b>{author}</b> {rank} <i>{date}</i></div><div>", "</div></div>"),
        }[style]
        body.raw(opened)
        if number and rng.random() < 0.4:
            told = p.pick("{} wrote:", "{} 发表于").format(p.name())
            body.raw(f'<blockquote class="quote"><cite>{told}</cite>')
            body.text("div", said)
            body.raw("</blockquote>")
        tag = ("br", "div", "p", "p", "p", "br")[style]
        if number and rng.random() < 0.55:
            body.text(tag, p.short())
        else:
            body.paragraphs(rng.randint(1, 2), tag)
        if rng.random() < 0.2:
            body.code()
        said = body.gold[-1].split("\n")[0]
        if rng.random() < 0.4:
            words = p.pick(
                "My build log · Ryzen 5, 32 GB · Please read the rules before posting",
                "签名：请先看版规再发帖 · 我的装机记录",
            )
            body.raw(f'<div class="signature" id="sig{number}">--<br>{words}</div>')
        body.raw(
            f'<div class="post-buttons">{_links(p.pick("Reply|Quote|Report|Like", "回复|引用|举报|点赞"))}</div>{closed}'
        )
    rows = "".join(
        f"<tr><td><a href='/t/{n}'>{p.title()}</a></td><td>{p.name()}</td><td>{rng.randrange(900)}</td></tr>"
        for n in range(5)
    )
    body.raw(
        f'<table class="similar"><tr><th>{p.pick("Similar threads", "相似主题")}</th><th>{p.pick("Author", "作者")}</th><th>{p.pick("Replies", "回复")}</th></tr>{rows}</table>'
    )
    users = ", ".join(p.name() for _ in range(6))
    body.raw(f'<div class="online">{p.pick("Users browsing this thread", "正在浏览此帖的会员")}: {users}</div>')
    return title


def documentation(body: Body) -> str:
    """A manual's page with code between paragraphs."""
    p, rng = body.prose, body.rng
    title = p.title()
    body.text("h1", title)
    body.paragraphs(1)
    for _ in range(rng.randint(2, 4)):
        body.text("h2", p.title())
        body.paragraphs(rng.randint(1, 2))
        body.code()
        if rng.random() < 0.5:
            body.raw('<div class="admonition note">')
            body.text("p", p.sentence())
            body.raw("</div>")
        if rng.random() < 0.4:
            body.listed([p.sentence() for _ in range(rng.randint(2, 4))])
    if rng.random() < 0.5:
        body.table(_parameters(body))
    return title


def mathematics(body: Body) -> str:
    """A text with formulas in one mark-up throughout."""
    p, rng = body.prose, body.rng
    title = p.title()
    body.text("h1", title)
    for _ in range(rng.randint(2, 4)):
        body.text("h3", p.title())
        body.mathematical()
        body.formula()
        body.paragraphs(1)
    return title


def statistics(body: Body) -> str:
    """Tables of figures with a little text between."""
    p, rng = body.prose, body.rng
    title = p.title()
    body.text("h1", title)
    body.paragraphs(1)
    for _ in range(rng.randint(1, 3)):
        body.table(body.numbers(rng.randint(4, 12), rng.randint(2, 5)), caption=p.title() if rng.random() < 0.6 else "")
        body.paragraphs(1)
    return title


def shop(body: Body) -> str:
    """A product: description, specification, reviews; gold leaves out price, buttons and what others bought."""
    p, rng = body.prose, body.rng
    title = f"{p.noun()} {rng.choice('ABCXZ')}{rng.randint(100, 9999)}"
    body.raw(
        '<div class="product row"><div class="col gallery"><img src="/img/1.jpg" alt=""><img src="/img/2.jpg" alt=""></div><div class="col">'
    )
    body.text("h1", title, ' class="product-title"')
    buy, stock = (
        p.pick("Add to cart|Add to wish list|Compare", "加入购物车|收藏|对比"),
        p.pick("In stock, ships in 2 days", "现货，两天内发出"),
    )
    body.raw(
        f'<div class="price">€ {rng.randint(9, 999)}.90</div><div>{stock}</div><div>{_links(buy)}</div></div></div>'
    )
    body.raw(
        f'<div class="tabs">{_links(p.pick("Description|Specification|Reviews", "商品介绍|规格参数|用户评价"))}</div>'
    )
    body.raw('<div class="tab-pane" id="description">')
    body.paragraphs(rng.randint(1, 2), rng.choice(("p", "div")))
    body.listed([p.noun() + p.pick(": ", "：") + p.quality() for _ in range(rng.randint(3, 6))])
    body.raw('</div><div class="tab-pane" id="specification" style="display:none">')
    body.table([[p.noun(), rng.choice((p.quality(), f"{rng.randint(1, 999)} mm"))] for _ in range(rng.randint(4, 9))])
    body.raw('</div><div class="tab-pane" id="reviews">')
    for number in range(rng.randint(2, 5)):
        opened = rng.choice(('<div class="review">', '<li class="comment">', "<div>"))
        body.raw(f'{opened}<span class="stars">★★★★☆</span> <b>{p.name()}</b> <time>2024-05-{10 + number}</time>')
        body.text(rng.choice(("p", "div")), p.paragraph(1, 3))
        body.raw(
            f'<span class="helpful">{_links(p.pick("Helpful (3)|Report", "有用(3)|举报"))}</span>{"</li>" if opened[1] == "l" else "</div>"}'
        )
    body.raw("</div>")
    _cards(body, p.pick("Customers also bought", "看了又看"), 6)
    return title


def questions(body: Body) -> str:
    """A question with answers and remarks under each."""
    p, rng = body.prose, body.rng
    title = p.sentence()
    body.text("h1", title)
    for number in range(rng.randint(2, 5)):
        kind = "answer" if number else "question"
        body.raw(
            f'<div class="{kind}"><div class="vote"><button>▲</button><span>{rng.randint(0, 99)}</span><button>▼</button></div><div class="s-prose">'
        )
        body.paragraphs(rng.randint(1, 3))
        if rng.random() < 0.6:
            body.code()
        body.raw(
            "</div>" + (f'<div class="tags">{_links("|".join(p.noun() for _ in range(3)))}</div>' if not number else "")
        )
        body.raw(
            f'<div class="post-menu">{_links(p.pick("Share|Edit|Follow|Flag", "分享|编辑|关注|举报"))}</div><div class="user-info">{p.name()} 1,203 ●3 ●12</div>'
        )
        if rng.random() < 0.6:
            body.raw('<ul class="comments">')
            for _ in range(rng.randint(1, 3)):
                body.raw("<li>")
                body.text("span", p.sentence())
                body.raw(f' – <a href="/u">{p.name()}</a> <span>3h</span></li>')
            body.raw("</ul>")
        body.raw("</div>")
    return title


def recipe(body: Body) -> str:
    """Ingredients and steps."""
    p, rng = body.prose, body.rng
    title = p.title()
    body.text("h1", title)
    body.raw(f'<div class="jump">{_links(p.pick("Jump to recipe|Print|Pin", "跳到做法|打印|收藏"))}</div>')
    body.paragraphs(rng.randint(1, 2))
    body.raw('<div class="recipe-card">')
    body.text("h2", p.pick("Ingredients", "用料"))
    unit = p.pick("g|ml|tbsp", "克|毫升|勺").split("|")
    body.listed([f"{rng.randint(1, 500)} {rng.choice(unit)} {p.noun()}" for _ in range(rng.randint(4, 10))])
    body.text("h2", p.pick("Method", "做法"))
    body.listed([p.paragraph(1, 2) for _ in range(rng.randint(3, 7))], "ol")
    body.raw("</div>")
    return title


def encyclopaedia(body: Body) -> str:
    """An article with a box of facts, sections and a table; gold leaves out contents, edit links and references' back links."""
    p, rng = body.prose, body.rng
    title = p.noun()
    edit = p.pick("edit", "编辑")
    body.text("h1", title, ' id="firstHeading"')
    rows = [[p.noun(), p.quality()] for _ in range(rng.randint(3, 6))]
    body.raw('<div class="mw-parser-output">')
    body.table(rows, style=2)
    body.paragraphs(2)
    names = [p.title() for _ in range(rng.randint(2, 4))]
    body.raw(
        f'<div id="toc" class="toc"><h2>{p.pick("Contents", "目录")}</h2><ul>{"".join(f"<li><a href=#s{n}>{escape(t)}</a></li>" for n, t in enumerate(names))}</ul></div>'
    )
    for number, name in enumerate(names):
        body.gold.append(name)
        body.raw(
            f'<h2><span class="mw-headline" id="s{number}">{escape(name)}</span><span class="mw-editsection">[<a href="/e">{edit}</a>]</span></h2>'
        )
        body.paragraphs(rng.randint(1, 3))
    body.table(body.numbers(rng.randint(3, 6), 3), style=1)
    body.raw("</div>")
    return title


def landing(body: Body) -> str:
    """A product's front page: claims in cards, voices, prices, questions."""
    p, rng = body.prose, body.rng
    title = p.title()
    body.raw('<section class="hero">')
    body.text("h1", title)
    body.text("p", p.sentence(), ' class="lead"')
    body.raw(
        f'<a class="btn btn-primary" href="/start">{p.pick("Get started", "立即开始")}</a></section><section class="grid grid-cols-3">'
    )
    for _ in range(rng.choice((3, 6))):
        body.raw('<div class="card"><svg viewBox="0 0 24 24"><path d="M4 6h16"/></svg>')
        body.text("h3", p.title())
        body.text("p", p.sentence())
        body.raw(f'<a href="/more">{p.pick("Learn more →", "了解更多 →")}</a></div>')
    body.raw('</section><section class="testimonials">')
    for _ in range(rng.randint(1, 3)):
        body.raw("<figure>")
        body.text("blockquote", p.sentence())
        body.raw(f"<figcaption>{p.name()}</figcaption></figure>")
    body.raw("</section><section>")
    for _ in range(rng.randint(3, 5)):
        body.raw("<details>" if rng.random() < 0.5 else '<div class="accordion-item">')
        opened = body.html[-1]
        body.text("summary" if opened == "<details>" else "h4", p.title() + p.pick("?", "？"))
        body.text("p", p.paragraph(1, 3))
        body.raw("</details>" if opened == "<details>" else "</div>")
    body.raw("</section>")
    return title


KINDS: Final[dict[str, Callable[[Body], str]]] = {
    "forum": forum,
    "documentation": documentation,
    "mathematics": mathematics,
    "statistics": statistics,
    "shop": shop,
    "questions": questions,
    "recipe": recipe,
    "encyclopaedia": encyclopaedia,
    "landing": landing,
}


def _links(names: str) -> str:
    return " ".join(f'<a href="#" class="action">{escape(name)}</a>' for name in names.split("|"))


def _parameters(body: Body) -> list[list[str]]:
    p = body.prose
    head = p.pick("Name|Type|Meaning", "名称|类型|含义").split("|")
    names = body.rng.sample(["limit", "offset", "retry", "verbose", "target", "format", "strict", "depth"], 4)
    return [head, *([name, body.rng.choice(("int", "bool", "str")), p.quality()] for name in names)]


def _cards(body: Body, heading: str, number: int) -> None:
    p, rng = body.prose, body.rng
    cards = "".join(
        f'<div class="card"><a href="/p/{n}"><img src="/t/{n}.jpg" alt="{p.noun()}"></a><a href="/p/{n}">{p.noun()} {p.quality()}</a>'
        f"<span>€ {rng.randint(5, 400)}.00</span></div>"
        for n in range(number)
    )
    body.raw(f'<section class="related-products"><h2>{heading}</h2>{cards}</section>')
