"""Other surroundings in other words: pages for checking that what was tuned on `layouts` holds for what it never saw."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from benchmarks.quality.pages.layouts import Chrome


@dataclass(frozen=True, slots=True)
class OtherChrome(Chrome):
    """The same parts as `Chrome` in other words and mark-up."""

    def cookies(self) -> str:
        """Consent, as a list of purposes."""
        purposes = self.prose.pick(
            "Strictly necessary storage keeps the basket and your session working.|Analytics storage helps the publisher count visits.|"
            "Marketing storage lets 214 vendors choose what you are shown.",
            "必要的存储用于维持购物车和会话。|统计存储帮助我们了解访问情况。|营销存储用于向您推送个性化信息。",
        ).split("|")
        items = "".join(f"<li><label><input type='checkbox'>{purpose}</label></li>" for purpose in purposes)
        return f"<p>{self.prose.pick('Your privacy choices', '隐私选项')}</p><ul>{items}</ul><button>{self.prose.pick('Save', '保存')}</button>"

    def announcement(self) -> str:
        """A campaign."""
        words = self.prose.pick(
            "Members' week: twenty per cent off all plans until midnight, with code SPRING.",
            "会员周：所有套餐限时八折，优惠码 SPRING，截止今晚零点。",
        )
        return f"<p>{words} <a href='/plans'>→</a></p>"

    def author(self) -> str:
        """A box with a photograph."""
        words = self.prose.pick(
            f"Text and pictures: {self.prose.name()}, editor at large. Corrections and hints are welcome at any time.",
            f"图文：{self.prose.name()}，本刊特约编辑。欢迎随时指正。",
        )
        return f"<address><img src='/p.png' alt=''>{words}</address>"

    def latest(self) -> str:
        """What is read most."""
        items = "".join(
            f"<li><a href='/z/{n}'><span>{n + 1}</span>{self.prose.title()}</a><small>{self.prose.sentence()}</small></li>"
            for n in range(5)
        )
        return f"<p><b>{self.prose.pick('Trending this week', '本周热门')}</b></p><ol>{items}</ol>"

    def related(self, teasers: bool) -> str:
        """Cards."""
        cards = "".join(
            f"<li><a href='/y/{n}'><img src='/y{n}.webp' alt='{self.prose.noun()}'><em>{self.prose.title()}</em></a>"
            f"{f'<div>{self.prose.sentence()}</div>' if teasers else ''}</li>"
            for n in range(self.rng.randint(3, 6))
        )
        return f"<p><b>{self.prose.pick('Keep exploring', '猜你喜欢')}</b></p><ul>{cards}</ul>"

    def newsletter(self) -> str:
        """A form."""
        words = self.prose.pick(
            "One letter a month, written by humans. Leave your address here.", "每月一封来信，留下邮箱即可收到。"
        )
        return f"<form><p>{words}</p><input name='m'><input type='submit' value='OK'></form>"

    def about(self) -> str:
        """The owner."""
        words = self.prose.pick(
            "Harbourside Press is part of the Quay Group, a family business since 1931 with offices in three countries. The editors decide "
            "what is published; sponsors have no say. Prices include value added tax. Products are illustrated by examples.",
            "码头传媒集团成立于1931年，在三个国家设有办事处。编辑部独立决定刊登内容，赞助商不参与。所示价格均含税，图片仅供参考。",
        )
        return f"<p>{words}</p>"

    def foot(self) -> str:
        """Links and an imprint."""
        names = self.prose.pick(
            "Imprint|Careers|Press|Accessibility|Terms|Privacy|Status", "版权声明|招聘|媒体|无障碍|条款|隐私|状态"
        ).split("|")
        return (
            " · ".join(f"<a href='/{n}'>{name}</a>" for n, name in enumerate(names)) + "<p>© Quay Group 1931–2025</p>"
        )

    def login(self) -> str:
        """A window."""
        words = self.prose.pick(
            "Choose how to continue: with an account at a partner, or by a link that is sent to you.",
            "请选择登录方式：合作账号登录，或通过邮件链接登录。",
        )
        return f"<dialog><p>{words}</p><button>1</button><button>2</button></dialog>"

    def between(self) -> str:
        """What interrupts the main part."""
        return (
            f"<aside><p>{self.prose.pick('More on this', '更多内容')}: <a href='/m'>{self.prose.title()}</a></p></aside>"
            if self.rng.random() < 0.5
            else f"<div data-slot='mid'><small>{self.prose.pick('Sponsored', '赞助内容')}</small><a href='/s'>{self.prose.title()}</a><p>{self.prose.sentence()}</p></div>"
        )


def manual(main: str, c: Chrome, after: str) -> str:
    """A documentation theme: tree on the left, contents on the right."""
    return (
        f"<div class='wy-grid-for-nav'><nav class='wy-nav-side'><div class='wy-side-scroll'>{c.menu(20)}</div></nav><section class='wy-nav-content-wrap'>"
        f"<div class='wy-nav-content'><div class='rst-content'><div role='navigation'>{c.crumbs()}</div><div role='main' class='document'><div>{main}</div></div>"
        f"{after}<div class='rst-footer-buttons'>{c.related(False)}</div>{c.foot()}</div></div></section></div><div class='rst-versions'>{c.cookies()}</div>"
    )


def magazine(main: str, c: Chrome, after: str) -> str:
    """Sections one below the other, all of one rank."""
    return (
        f"<section id='top'>{c.announcement()}{c.wide_menu()}</section><section id='s1'><div>{c.author()}</div><div>{main}</div></section><section id='s2'>{c.latest()}"
        f"</section><section id='s3'>{c.related(True)}</section><section id='s4'>{after}{c.newsletter()}</section><section id='s5'>{c.about()}{c.foot()}</section>{c.login()}"
    )


def portal(main: str, c: Chrome, after: str) -> str:
    """An authority's pages: identifiers in another language, a column on either side."""
    return (
        f"<div id='kopf'><div id='suche'><form><input></form></div>{c.menu()}</div><div id='spalte1'>{c.menu(9)}{c.announcement()}</div><div id='inhalt'><p>{c.crumbs()}</p>"
        f"{main}<p>{c.share()}</p>{after}</div><div id='spalte2'>{c.latest()}{c.tags()}</div><div id='fuss'>{c.about()}{c.foot()}</div>{c.cookies()}"
    )


def shell(main: str, c: Chrome, after: str) -> str:
    """An application's shell: custom elements around everything."""
    return (
        f"<app-root><app-bar><a href='/'>≡</a>{c.menu()}</app-bar><app-drawer>{c.menu(12)}{c.login()}</app-drawer><app-view><view-head>{c.crumbs()}</view-head><view-body>{main}"
        f"</view-body><view-tail>{after}{c.related(True)}</view-tail></app-view><app-toast>{c.cookies()}</app-toast><app-foot>{c.about()}{c.foot()}</app-foot></app-root>"
    )


OTHER_LAYOUTS: Final[tuple[Callable[[str, Chrome, str], str], ...]] = (manual, magazine, portal, shell)
