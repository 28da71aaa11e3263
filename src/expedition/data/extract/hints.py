"""What class names, ids and roles say about an element: a vocabulary, matched in one pass by an Aho-Corasick automaton.

Sources of the words: those that web frameworks and content systems use (WordPress, Drupal, Bootstrap, Sphinx, Discourse,
phpBB, AMP …), read in the pages themselves. "-" in a pattern is a word's edge: a change of case, any character that is no
letter and no digit, or either end.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

BODY: Final = 1 << 0
CONTENT: Final = 1 << 1
NAVIGATION: Final = 1 << 2
FOOTER: Final = 1 << 3
SIDE: Final = 1 << 4
COMMENTS: Final = 1 << 5
RELATED: Final = 1 << 6
SHARE: Final = 1 << 7
ADVERT: Final = 1 << 8
CONSENT: Final = 1 << 9
SIGNUP: Final = 1 << 10
CAPTION: Final = 1 << 11
META: Final = 1 << 12
HIDDEN: Final = 1 << 13
RENDERED: Final = 1 << 14
GUTTER: Final = 1 << 15
FORMULA: Final = 1 << 16
TALK: Final = 1 << 17
HEADER: Final = 1 << 18
WHOLE: Final = 1 << 19
STYLE_HIDDEN: Final = 1 << 20
UNHIDDEN: Final = 1 << 21
NOT_COMMENTS: Final = 1 << 22
NOT_SIDE: Final = 1 << 23
CODE: Final = 1 << 24
PRODUCT: Final = 1 << 25
TAB: Final = 1 << 26
PREFORMATTED: Final = 1 << 27
NOT_PREFORMATTED: Final = 1 << 28
LEAD: Final = 1 << 29

FURNITURE: Final = NAVIGATION | FOOTER | SIDE | RELATED | SHARE | ADVERT | CONSENT | SIGNUP | CAPTION | META | COMMENTS
"""What is not main text unless it holds most of the page."""
ALWAYS: Final = HIDDEN | RENDERED | GUTTER
INLINE: Final = SHARE | ADVERT | HIDDEN | RENDERED | GUTTER | META | CAPTION | SIGNUP | RELATED | COMMENTS
"""What makes an inline element count as a block of its own."""

ROW: Final = 29

_WORDS: Final[tuple[tuple[int, str], ...]] = (
    (
        BODY,
        "-article-body articlebody -article-content- -articlecontent -article-text -articletext -entry-content"
        " entrycontent"
        " -post-content -postcontent -post-body -postbody -story-body storybody -story-content -storycontent"
        " -story-text"
        " -body-text -bodytext -content-body -contentbody -post-text -single-content -blog-content -theme-content"
        " -page-content-body -article-main -article-copy -body-copy -bodycopy -field-body -field-name-body -post-entry"
        " -news-content -news-text -newstext -news-body -td-post-content -rich-text -richtext -article-wrap-"
        " -main-text -maintext -text-content -article-section- -markdown-body -mw-parser-output -mw-content-text"
        " -document-content -prose- -recipe-content -article-detail -artical -zhengwen -detail-content"
        " -article-page-content"
        " -meldung- -artikel-text -artikeltext -artikel-content -cuerpo- -corps-article -article-corps"
        " -texte-article -noticia-texto",
    ),
    (
        CONTENT,
        "article -content- -post- -entry- -story- -main- -maincontent -text- -artikel -primary- -single- -blog-"
        " -news-item"
        " -documentation- -wiki- -recipe -page-content -body-",
    ),
    (
        NAVIGATION,
        "-nav- -navi- -navbar -nav-bar -navigation -navigator -subnav -topnav -mainnav -menu- -menubar -submenu"
        " -mainmenu -megamenu"
        " -dropdown- -breadcrumb -bread-crumb breadcrumbs -pagination -pager- -paging -skip-link -skiplink"
        " -sitemap -topbar"
        " -top-bar -toolbar -offcanvas -off-canvas -hamburger -prev-next -next-prev -post-nav -jump-to"
        " -search-form -searchform"
        " -searchbox -search-box -toc- -table-of-contents -tableofcontents -mw-editsection -headerlink"
        " -edit-section -tab-list"
        " -tablist -accesskey -language-switch -langs -lang-switch -user-menu -menu-item -navbox -catlinks"
        " -ui-tabs-nav",
    ),
    (
        FOOTER,
        "-footer -foot- -site-info -colophon -contentinfo -copyright -bottom-bar -bottombar -page-bottom -imprint"
        " -legal-"
        " -endnote-ad -siteinfo",
    ),
    (
        SIDE,
        "sidebar -side-bar -side- -aside -rail- -right-rail -rightrail -left-rail -right-col- -rightcol"
        " -right-column -widget"
        " -complementary -secondary- -marginal -randspalte",
    ),
    (
        NOT_SIDE,
        "-no-sidebar -has-sidebar -with-sidebar elementor-widget -sidebar-left- -sidebar-right- -widget-text"
        " -widget-theme-post",
    ),
    (
        COMMENTS,
        "comment -disqus -dsq- -respond- -livefyre -reply-form -replies -kommentar -guestbook -reader-letters"
        " -user-review-form"
        " -trackback -pingback",
    ),
    (
        NOT_COMMENTS,
        "commentary commentator no-comments -nocomments has-comments comments-off comments-open comment-open"
        " comments-closed",
    ),
    (
        RELATED,
        "related recommend -similar- -read-more -readmore -read-next -readnext -more-on -more-from -more-stories"
        " -more-news -also-"
        " -see-also -you-may -youmay -most-read -mostread -most-popular -mostpopular -popular- -trending -latest-"
        " -recirc"
        " -recent- -recentpost -teaser -up-next -upnext -next-article -next-post -next-story -prev-post -previous-"
        " -outbrain -taboola"
        " -zergnet -revcontent -suggested -suggestion -further- -othernews -other-news -weitere- -carousel"
        " -slider- -slick -swiper"
        " -promoted -crosslink -cross-sell -upsell -customers-also -also-bought -recently-viewed -read-also"
        " -linkbox -article-list-"
        " -story-list -post-list- -card-list -infinite-scroll -jp-relatedposts -yarpp -link-list -linklist"
        " -inline-story"
        " -onward -toplist -bestseller -newsfeed -feed- -stories- -hot-news -hotnews -tuijian -xiangguan -related-link",
    ),
    (
        SHARE,
        "-share -sharing -sharebar sharebutton sharedaddy -social -sociable -addthis -addtoany -a2a- -follow-"
        " -follow-us -followus -like-button"
        " -tweet-button -twitter-share -facebook- -fb-like -fb-root -whatsapp -pinterest -email-link -print-link"
        " -print-button"
        " -actions- -action-bar -article-tools -tool-bar -sharethis -heateor -shareaholic -viral -bookmark"
        " -article-actions -vote-"
        " -voting -upvote -rating-widget -reactions -copy-link -copybtn -copy-button -clipboard",
    ),
    (
        ADVERT,
        "-ad- -ads- -adv- -advert -adbox -adslot -ad-slot -adunit -ad-unit -adsense -adsbygoogle -adwrap -ad-wrap"
        " -banner- -sponsor"
        " -dfp -gpt-ad -doubleclick -promo- -promos- -promotion -promobox -promo-box -criteo -paid-content"
        " -werbung -anzeige -publicidad"
        " -publicite -leaderboard -billboard -commercial- -affiliate -partner-content -marketing -mpu- -cta-"
        " -call-to-action",
    ),
    (
        CONSENT,
        "cookie -consent -gdpr -cmp- -onetrust -modal -overlay -popup -pop-up -lightbox -piano- -gate- -regwall -dialog"
        " -alertbar -notification -toast- -tooltip -app-banner -smartbanner -noscript -adblock -browser-upgrade"
        " -outdated -login"
        " -log-in -signin -sign-in -signup -sign-up -register- -registration -premium-offer -barrier",
    ),
    (
        SIGNUP,
        "newsletter subscribe -subscription -optin -opt-in -mailchimp -mc-embed -email-signup -donate -donation"
        " -crowdfund -support-us -membership",
    ),
    (
        CAPTION,
        "caption -credit- -credits- -photo-credit -image-credit -bildunterschrift -legende -media-credit"
        " -image-source -photographer -copyright-",
    ),
    (
        META,
        "byline -by-line -author -autor- -auteur -dateline -date- -datetime -timestamp -time- -published"
        " -publish-date -pubdate"
        " -post-date -posted-on -posted-in -entry-meta -post-meta -postmeta -article-meta -meta- -metadata -tags-"
        " -tag- -taglist -tag-list"
        " -tag-cloud -tagcloud -tags-links -cat-links -categories -category-list -post-categories -keywords"
        " -topics -post-info"
        " -article-info -postinfo -entry-footer -post-footer -article-footer -breadcrumbs -reading-time -read-time"
        " -readtime -views-"
        " -pageviews -post-views -source- -story-meta -user-info -userinfo -user-profile -avatar -author-box"
        " -about-author -bio- -profile-"
        " -signature- -postprofile -post-author -poster-info -user-card -user-details -badge -rating- -stars-"
        " -star-rating -kicker"
        " -word-count -article-number -editor-note-",
    ),
    (
        HIDDEN,
        "-hidden- -hide- -is-hidden -u-hidden -d-none -visually-hidden -visuallyhidden -sr-only -screen-reader"
        " -screenreader"
        " -screen-reader-text -noprint -no-print -print-only -printonly -only-print -offscreen -invisible"
        " -display-none -nodisplay"
        " -mw-empty-elt -collapse-hidden",
    ),
    (
        UNHIDDEN,
        "-label-hidden -hidden-focusable -not-hidden -md-block -lg-block -sm-block -md-flex -lg-flex -sm-flex"
        " -md-inline -lg-inline -xl-block -md-grid -lg-grid -overflow-hidden -hidden-xs -hidden-print -hide-print"
        " -hide-title -hide-on",
    ),
    (STYLE_HIDDEN, "-display-none -visibility-hidden"),
    (
        RENDERED,
        "-katex-html -mathjax-display -mathjax- -mathjax-preview -mathjax-svg -mathjax-chtml -mjx-chtml -mjx-math"
        " -mjx-assistive-none -mathjax-svg-display -tex-render",
    ),
    (
        GUTTER,
        "-gutter -lineno -linenos -linenodiv -line-number -linenumber -line-num- -ln-num -lnum -blob-num"
        " -rouge-gutter -code-line-number"
        " -hljs-ln-numbers -hljs-ln-n- -crayon-nums -react-syntax-highlighter-line-number -line-nr -lnr-"
        " -copy-code -code-header -code-toolbar-item",
    ),
    (
        FORMULA,
        "-math- -maths- -latex -tex- -mathtex -katex -mwe-math -mwe-math-fallback-image-inline -mathimg"
        " -math-inline -math-display -equation -formula -ee-img -wp-katex-eq",
    ),
    (
        TALK,
        "-thread -topic -forum -message -answer -question -reply- -replies -post-body -postbody -discussion"
        " -conversation -cooked -qa- -faq -bbs -post-message -post-content -js-post -postcontent",
    ),
    (
        HEADER,
        "-masthead -site-header -siteheader -page-header -pageheader -header-top -global-header -logo -branding"
        " -brand-",
    ),
    (
        CODE,
        "-highlight- -sourcecode -source-code -codehilite -code-block -codeblock -code- -syntaxhighlighter"
        " -prettyprint -hljs -crayon -rouge- -code-snippet -language-",
    ),
    (
        LEAD,
        "-lead- -lede- -intro- -introduction -standfirst -subtitle -subheadline -summary -abstract -dek- -chapeau"
        " -chapo- -vorspann -anleser"
        " -teaser-text -article-teaser -entradilla -bajada -sommario -perex -ingress- -deck-",
    ),
    (
        TAB,
        "-tab-pane -tabpanel -tab-panel -tab-content -tabcontent -tabs-panel -accordion -collapse- -collapsible"
        " -panel-collapse -spoiler -faq-answer -details-",
    ),
    (
        PREFORMATTED,
        "-white-space-pre- -whitespace-pre- -blob-code -code-line- -codeline- -crayon-line- -view-line-"
        " -code-mirror-line -hljs-ln-line",
    ),
    (NOT_PREFORMATTED, "-white-space-pre-line -white-space-pre-wrap -whitespace-pre-line -whitespace-pre-wrap"),
    (PRODUCT, "-product -spec- -specs- -specification -datasheet -tech-spec -attributes- -features-"),
)


@lru_cache(maxsize=1)
def automaton() -> NDArray[np.int32]:
    """Rows of ROW numbers: where the next state's row begins (letters, any digit at 26, an edge at 27), then the bits."""
    rows: list[dict[int, int]] = [{}]
    bits = [0]
    for bit, words in _WORDS:
        for word in words.split():
            state = 0
            for letter in word:
                symbol = 27 if letter == "-" else ord(letter) - 97 if letter.isalpha() else 26
                if symbol not in rows[state]:
                    rows[state][symbol] = len(rows)
                    rows.append({})
                    bits.append(0)
                state = rows[state][symbol]
            bits[state] |= bit
    step = np.zeros((len(rows), 28), np.int32)
    fail = [0] * len(rows)
    order = [0]
    for state in order:
        for symbol in range(28):
            follower = rows[state].get(symbol)
            if follower is None:
                step[state, symbol] = step[fail[state], symbol] if state else 0
                continue
            fail[follower] = int(step[fail[state], symbol]) if state else 0
            bits[follower] |= bits[fail[follower]]
            step[state, symbol] = follower
            order.append(follower)
    return np.concatenate([step * ROW, np.array(bits, np.int32)[:, None]], axis=1, dtype=np.int32).reshape(-1)


def hints_of(value: str) -> int:
    """Bits of a class, id or role value: the scanner's own answer, for tests and for reading the vocabulary."""
    from expedition.data.extract.attributes import hint_bits, tables

    data = np.frombuffer(value.encode() + b"\0", np.uint8)
    return int(hint_bits(data, 0, len(data) - 1, tables()))
