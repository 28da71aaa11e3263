"""What stands around the main part: seven ways to build a page, with navigation, notices, side columns and feet."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from typing import Final

from benchmarks.quality.pages.prose import Prose


@dataclass(frozen=True, slots=True)
class Chrome:
    """The parts that surround the main part, in the page's language; none of them is gold."""

    prose: Prose
    rng: random.Random

    def menu(self, least: int = 5) -> str:
        """Links in a list."""
        names = [self.prose.noun() for _ in range(least + self.rng.randrange(8))]
        return "<ul>" + "".join(f'<li><a href="/{n}">{escape(name)}</a></li>' for n, name in enumerate(names)) + "</ul>"

    def cookies(self) -> str:
        """A notice on cookies, long enough to look like text."""
        return (
            self.prose.pick(
                "We and our partners use cookies to store and access information on your device, to measure audiences and to show "
                "personalised content. You can change your choice at any time in the settings.",
                "我们和合作伙伴使用Cookie在您的设备上存储和读取信息，用于统计访问量和展示个性化内容。您可以随时在设置中更改选择。",
            )
            + f" <button>{self.prose.pick('Accept all', '全部接受')}</button><button>{self.prose.pick('Settings', '设置')}</button>"
        )

    def crumbs(self) -> str:
        """Where in the site."""
        return " › ".join(f'<a href="/{n}">{self.prose.noun()}</a>' for n in range(3))

    def share(self) -> str:
        """Buttons."""
        names = self.prose.pick("Facebook|X|E-mail|Copy link", "微信|微博|复制链接").split("|")
        return self.prose.pick("Share: ", "分享到：") + " ".join(f'<a href="#s">{name}</a>' for name in names)

    def related(self, teasers: bool) -> str:
        """Other pages, with a first sentence of each if `teasers`."""
        items = []
        for number in range(self.rng.randint(3, 6)):
            teaser = f"<p>{self.prose.sentence()}</p>" if teasers else ""
            items.append(f'<div class="item"><h3><a href="/r/{number}">{self.prose.title()}</a></h3>{teaser}</div>')
        return f"<h3>{self.prose.pick('You may also like', '相关推荐')}</h3>" + "".join(items)

    def newsletter(self) -> str:
        """A form."""
        words = self.prose.pick(
            "Get the best of the week in your inbox. No spam, unsubscribe at any time.",
            "订阅每周精选，随时可以退订，绝不发送垃圾邮件。",
        )
        return f'<form><label>{words}</label><input type="email"><button>{self.prose.pick("Subscribe", "订阅")}</button></form>'

    def comments(self) -> str:
        """What readers said below; on these kinds of page it is not the main text."""
        said = "".join(
            f'<div class="comment"><b>{self.prose.name()}</b><p>{self.prose.short()}</p><a href="#r">{self.prose.pick("Reply", "回复")}</a></div>'
            for _ in range(self.rng.randint(2, 5))
        )
        return f"<h3>{self.prose.pick('Leave a comment', '发表评论')}</h3>{said}"

    def advert(self) -> str:
        """An advertisement."""
        return f'<div class="ad-slot" data-ad="1"><span>{self.prose.pick("Advertisement", "广告")}</span><a href="//ads.example.org">{self.prose.title()}</a></div>'

    def foot(self) -> str:
        """Owner, links and a legal sentence."""
        legal = self.prose.pick(
            "© 2024 Northwind Media. All rights reserved. Reproduction in whole or in part without permission is prohibited.",
            "© 2024 北风传媒 版权所有 未经书面授权不得转载 京ICP备00000000号",
        )
        return f"{self.menu(6)}<p>{legal}</p>"

    def announcement(self) -> str:
        """Words of the owner of the site above every page."""
        words = self.prose.pick(
            "Scheduled maintenance: the site will be read-only on Sunday between 02:00 and 06:00 UTC. Thank you for your patience.",
            "系统维护通知：本站将于周日凌晨两点至六点暂停发帖和下单，给您带来不便敬请谅解。",
        )
        return f"<div><p>{words}</p><a href='/status'>{self.prose.pick('Details', '详情')}</a></div>"

    def author(self) -> str:
        """Who wrote the page, in prose."""
        who, thing = self.prose.name(), self.prose.noun()
        words = self.prose.pick(
            f"{who} has been writing about the {thing} since 2009 and lives with two cats. Follow {who} for more.",
            f"{who}，自由撰稿人，长期关注{thing}，欢迎关注作者获取更多内容。",
        )
        return f'<div><img src="/a.jpg" alt="{who}"><h4>{self.prose.pick("About the author", "关于作者")}</h4><p>{words}</p></div>'

    def latest(self) -> str:
        """What others said elsewhere on the site, in whole sentences."""
        items = "".join(
            f"<li><a href='/t/{n}'>{self.prose.name()}</a> {self.prose.pick('on', '评论了')} <a href='/t/{n}'>{self.prose.title()}</a>: {self.prose.sentence()}</li>"
            for n in range(self.rng.randint(3, 7))
        )
        return f"<h4>{self.prose.pick('Latest comments', '最新评论')}</h4><ul>{items}</ul>"

    def tags(self) -> str:
        """A cloud of labels."""
        return " ".join(
            f'<a href="/tag/{n}">{self.prose.noun()}</a> ({self.rng.randrange(99)})'
            for n in range(self.rng.randint(8, 25))
        )

    def about(self) -> str:
        """The site about itself, at the foot of every page."""
        words = self.prose.pick(
            "Northwind is an independent platform for people who build, repair and grow things. Founded in 2006 by three friends, it is "
            "financed by its members and by a small number of partners. Some links on this page are affiliate links: if you buy "
            "something through them we may earn a commission, at no extra cost to you. Opinions expressed by members are their own.",
            "北风网创办于2006年，是一个面向动手爱好者的独立平台，由会员和少量合作伙伴资助。本页部分链接为推广链接，您通过这些链接购买商品时，"
            "我们可能获得佣金，您无需支付额外费用。会员言论仅代表个人观点，与本站立场无关。违法和不良信息举报电话请见联系我们页面。",
        )
        return f"<div><h4>{self.prose.pick('About us', '关于我们')}</h4><p>{words}</p></div>"

    def wide_menu(self) -> str:
        """A menu with a line of explanation under each entry."""
        items = "".join(
            f'<div><a href="/m/{n}">{self.prose.noun()}</a><span>{self.prose.short()}</span></div>'
            for n in range(self.rng.randint(6, 14))
        )
        return f"<div>{items}</div>"

    def login(self) -> str:
        """A window that is hidden until asked for."""
        words = self.prose.pick(
            "Welcome back! Sign in to see your orders, follow discussions and save pages. By signing in you accept our terms of use.",
            "欢迎回来！登录后即可查看订单、关注话题和收藏页面。登录即表示您同意用户协议和隐私政策。",
        )
        return f'<div style="display:none"><p>{words}</p><form><input name="u"><input name="p" type="password"><button>OK</button></form></div>'

    def between(self) -> str:
        """What interrupts the main part: an advertisement, a pointer to another page, a form."""
        kind = self.rng.randrange(4)
        if kind == 0:
            return self.advert()
        if kind == 1:
            return (
                f'<div><b>{self.prose.pick("Read also:", "延伸阅读：")}</b> <a href="/x">{self.prose.title()}</a></div>'
            )
        if kind == 2:
            return (
                f'<div class="promo"><a href="/x"><h4>{self.prose.title()}</h4><p>{self.prose.sentence()}</p></a></div>'
            )
        return self.newsletter()

    def scripts(self) -> str:
        """What browsers run."""
        return (
            "<script>window.dataLayer=window.dataLayer||[];function gtag(){dataLayer.push(arguments);}</script>"
            '<script type="application/ld+json">{"@context":"https://schema.org","@type":"WebPage","name":"x"}</script>'
            '<noscript><img height="1" width="1" src="https://track.example.org/p.gif" alt=""></noscript>'
        )


def semantic(main: str, c: Chrome, after: str) -> str:
    """header, nav, main, article, aside, footer."""
    return (
        f'<header><nav>{c.wide_menu()}</nav>{c.announcement()}</header>{c.login()}<div role="dialog" aria-label="cookies">{c.cookies()}</div><main><nav aria-label="breadcrumb">'
        f"{c.crumbs()}</nav><article>{main}<footer>{c.share()}</footer></article>{after}</main><aside>{c.author()}{c.related(True)}{c.latest()}{c.newsletter()}</aside><footer>{c.about()}{c.foot()}</footer>"
    )


def bootstrap(main: str, c: Chrome, after: str) -> str:
    """Rows and columns."""
    return (
        f'<div class="navbar navbar-expand-lg"><div class="container">{c.menu(8)}</div></div><div class="alert alert-info">{c.announcement()}</div><div class="container"><ol class="breadcrumb">{c.crumbs()}</ol>'
        f'<div class="row"><div class="col-md-8">{main}<div class="social">{c.share()}</div>{after}</div><div class="col-md-4">{c.author()}{c.advert()}<div class="well">{c.latest()}</div>'
        f'<div class="panel panel-default"><div class="panel-body">{c.related(True)}</div></div></div></div></div>'
        f'<div class="modal fade"><div class="modal-body"><p>{c.cookies()}</p></div></div><div class="footer">{c.tags()}{c.about()}{c.foot()}</div>'
    )


def tailwind(main: str, c: Chrome, after: str) -> str:
    """Utility classes alone."""
    return (
        f'<div class="sticky top-0 bg-white shadow"><div class="flex">{c.menu()}</div></div><div class="max-w-7xl mx-auto grid grid-cols-12"><div class="col-span-3 '
        f'text-sm">{c.menu(15)}</div><div class="col-span-6 prose">{main}{after}</div><div class="col-span-3">{c.related(True)}{c.latest()}{c.advert()}</div></div>{c.login()}'
        f'<div class="fixed bottom-0 p-4">{c.cookies()}</div><div class="bg-gray-900 text-white">{c.about()}{c.foot()}</div>'
    )


def bare(main: str, c: Chrome, after: str) -> str:
    """No class at all."""
    return f"<div><div>{c.wide_menu()}</div><div>{c.announcement()}</div><div><div>{c.crumbs()}</div><div>{main}</div><div>{after}</div></div><div>{c.latest()}</div><div>{c.tags()}</div><div>{c.related(True)}</div><div>{c.cookies()}</div><div>{c.about()}</div><div>{c.foot()}</div></div>"


def nested_tables(main: str, c: Chrome, after: str) -> str:
    """Laid out by tables."""
    return (
        f'<table width="100%"><tr><td colspan="3" bgcolor="#336699">{c.crumbs()}</td></tr><tr><td width="160" valign="top"><font size="2">{c.menu(10)}</font></td>'
        f'<td valign="top"><table width="100%" cellpadding="4"><tr><td>{main}</td></tr><tr><td>{after}</td></tr></table></td><td width="180" valign="top">{c.advert()}'
        f'{c.related(True)}{c.latest()}</td></tr><tr><td colspan="3" align="center"><small>{c.about()}{c.foot()}</small></td></tr></table>'
    )


def hashed(main: str, c: Chrome, after: str) -> str:
    """Classes that mean nothing."""
    name = lambda: f"css-{c.rng.randrange(16**6):06x}"  # noqa: E731
    return (
        f'<div id="__next"><div class="{name()}"><div class="{name()}">{c.menu()}</div></div><div class="{name()}"><div class="{name()}">{c.crumbs()}</div>'
        f'<div class="{name()}"><div class="{name()}">{main}</div><div class="{name()}">{c.share()}</div></div><div class="{name()}">{c.author()}</div><div class="{name()}">{c.related(True)}{c.latest()}</div>'
        f'<div class="{name()}">{c.newsletter()}</div><div class="{name()}">{after}</div></div><div class="{name()}">{c.about()}{c.foot()}</div>{c.login()}<div class="{name()}">{c.cookies()}</div></div>'
    )


def blog(main: str, c: Chrome, after: str) -> str:
    """A theme with widgets."""
    return (
        f'<div id="page" class="site"><div id="masthead" class="site-header"><div class="main-navigation">{c.menu()}</div></div><div id="content" class="site-content">'
        f'<div id="primary" class="content-area"><div class="hentry post type-post"><div class="entry-content">{main}<div class="sharedaddy">{c.share()}</div>'
        f'<div class="jp-relatedposts">{c.related(True)}</div></div></div><div id="comments" class="comments-area">{after}</div></div>'
        f'<div id="secondary" class="widget-area"><div class="widget">{c.author()}{c.newsletter()}</div><div class="widget widget_recent_entries">{c.latest()}{c.tags()}</div></div></div>'
        f'<div id="colophon" class="site-footer">{c.about()}{c.foot()}</div></div><div id="cookie-law-info-bar">{c.cookies()}</div>'
    )


LAYOUTS: Final[tuple[Callable[[str, Chrome, str], str], ...]] = (
    semantic,
    bootstrap,
    tailwind,
    bare,
    nested_tables,
    hashed,
    blog,
)
