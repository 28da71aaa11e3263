"""Sentences of English and Chinese by a small grammar: fluent enough to look like text, varied enough not to repeat."""

from __future__ import annotations

import random
from dataclasses import dataclass

_EN = {
    "thing": "router|garden|engine|library|bridge|camera|kettle|network|battery|kernel|harbour|telescope|printer|valley|"
    "compiler|bicycle|window frame|water pump|database|sensor|recipe book|heating system|old laptop|workshop|sailing boat|"
    "piano|greenhouse|driver|firmware|training plan|power supply|wooden table|night train|archive|weather station",
    "what": "a long test|the first winter|the second update|an ordinary week|heavy rain|several attempts|a clean install|"
    "the annual inspection|two hours of work|a careful reading|the last release|a short power cut|my own measurements",
    "who": "our neighbour|the maintainer|a friend of mine|the city council|an engineer from Lund|the museum|my brother|"
    "the whole team|a retired teacher|the supplier|everyone on the course|the review committee|a colleague",
    "did": "replaced|measured|repaired|described|moved|compared|photographed|documented|rejected|tested|rebuilt|ordered|"
    "recommended|calibrated|dismantled|reviewed|painted|borrowed",
    "adj": "reliable|noisy|surprisingly light|difficult to clean|cheaper than expected|slow in the morning|well documented|"
    "fragile|easy to align|warm to the touch|rather heavy|older than it looks|compatible with both versions|out of stock",
    "why": "the instructions were unclear|nobody had checked the cable|the temperature dropped below zero|the parts arrived late|"
    "it saves a lot of time|the old one was worn out|the numbers did not add up|we wanted to keep the original colour|"
    "the default setting is too strict|the surface was never sealed|it had been stored in a damp cellar",
    "where": "in the north of the country|near the old mill|on the second floor|behind the main panel|at the regional archive|"
    "in a small village by the lake|under the left cover|on our test bench|next to the market square|outside the city",
    "when": "last autumn|in early March|before the holidays|every second week|during the night|after lunch|three years ago|"
    "at the end of the season|on a rainy Sunday|since the spring",
}
_EN_FORMS = (
    "{When}, {who} {did} the {thing} because {why}.",
    "The {thing} turned out to be {adj} after {what}.",
    "{Who} {did} the {thing} {where}, and {who} {did} the {thing} {when}.",
    "If the {thing} is {adj}, you should look at the {thing} first, since {why}.",
    "What surprised {who} most was that the {thing} {where} was still {adj}.",
    "After {what}, the {thing} was {adj}; before that it had been {adj}.",
    "Most people who {did} a {thing} {when} say that {why}.",
    "It took {n} minutes until {who} had {did} the {thing} {where}.",
    "There are {n} ways to do this, but {who} always {did} the {thing} {when}.",
    "Although {why}, the {thing} remains {adj} and the {thing} is {adj}.",
    "{Where}, a {thing} costs about {n} euros, which is more than {who} expected.",
    "We {did} {n} of them {when} and found that {why}.",
    "Do not forget that the {thing} must be {did} before {what}.",
)
_EN_SHORT = (
    "Thanks, that worked for me.",
    "Same problem here {when}.",
    "Have you {did} the {thing}?",
    "No idea, sorry. Maybe {why}.",
    "Mine is {adj} too.",
    "+1, the {thing} is the culprit.",
    "Solved: {why}.",
    "I would ask {who}.",
    "Where did you get the {thing}?",
)
_ZH = {
    "thing": "路由器|花园|发动机|图书馆|石桥|相机|水壶|网络|电池|内核|港口|望远镜|打印机|山谷|编译器|自行车|窗框|水泵|数据库|传感器|"
    "菜谱|暖气|旧笔记本|车间|帆船|钢琴|温室|驱动程序|固件|训练计划|电源|木桌|夜班火车|档案|气象站",
    "what": "长时间测试|第一个冬天|第二次更新|平常的一周|一场大雨|几次尝试|全新安装|年度检查|两个小时的工作|仔细阅读|最近一次发布|短暂停电",
    "who": "邻居|维护者|我的一个朋友|市政府|一位来自杭州的工程师|博物馆|我弟弟|整个团队|一位退休教师|供应商|同班同学|评审委员会|同事",
    "did": "更换了|测量了|修好了|介绍了|搬走了|比较了|拍摄了|记录了|退回了|测试了|重建了|订购了|推荐了|校准了|拆开了|检查了|借走了",
    "adj": "很可靠|有点吵|比想象中轻|不容易清洗|比预期便宜|早上比较慢|文档齐全|容易损坏|便于对准|摸起来发热|相当重|兼容两个版本|已经缺货",
    "why": "说明书写得不清楚|没有人检查过线缆|气温降到了零度以下|零件到货晚了|这样能节省很多时间|旧的已经磨损|数字对不上|大家想保留原来的颜色|"
    "默认设置太严格|表面从来没有处理过|它一直放在潮湿的地下室里",
    "where": "在北方|在老磨坊附近|在二楼|在主面板后面|在省档案馆|在湖边的小村子里|在左侧盖板下面|在我们的实验台上|在集市广场旁边|在郊外",
    "when": "去年秋天|三月初|放假之前|每隔一周|夜里|午饭以后|三年前|季节末|一个下雨的星期天|开春以来",
}
_ZH_FORMS = (
    "{when}，{who}{did}{thing}，因为{why}。",
    "经过{what}，{thing}{adj}。",
    "{who}{where}{did}{thing}，{who}{when}又{did}{thing}。",
    "如果{thing}{adj}，应该先看看{thing}，毕竟{why}。",
    "最让{who}意外的是，{where}的{thing}仍然{adj}。",
    "{what}之后{thing}{adj}，而在此之前它{adj}。",
    "{when}{did}{thing}的人大多说{why}。",
    "{who}花了{n}分钟才{where}{did}{thing}。",
    "办法有{n}种，不过{who}总是{when}先看{thing}。",
    "虽然{why}，{thing}还是{adj}，{thing}也{adj}。",
    "{where}，一台{thing}大约要{n}元，比{who}预想的贵。",
    "我们{when}{did}其中{n}个，发现{why}。",
    "别忘了，{what}以前要先把{thing}检查一遍。",
)
_ZH_SHORT = (
    "谢谢，按这个办法解决了。",
    "我{when}也遇到同样的问题。",
    "你{did}{thing}没有？",
    "不清楚，可能是{why}。",
    "我的{thing}也{adj}。",
    "顶一下，问题出在{thing}。",
    "已解决：{why}。",
    "建议问一下{who}。",
    "{thing}在哪里买的？",
)
_NAMES_EN = [
    "mikael_k",
    "GardenGnome",
    "tuxfan77",
    "Lena R.",
    "old_salt",
    "quietriver",
    "R2Dpeter",
    "Priya N.",
    "benchpress",
    "northwind",
    "Ola",
    "k8s_karl",
]
_NAMES_ZH = [
    "山水之间",
    "老王修车",
    "小雨点",
    "风吹麦浪",
    "代码搬运工",
    "南方姑娘",
    "七星瓢虫",
    "大海",
    "一叶知秋",
    "冬瓜汤",
    "路人甲",
    "星河",
]


@dataclass(frozen=True, slots=True)
class Prose:
    """A source of text in one language ("en" or "zh")."""

    language: str
    rng: random.Random

    def sentence(self) -> str:
        """One sentence."""
        return self._fill(_ZH_FORMS if self.language == "zh" else _EN_FORMS)

    def short(self) -> str:
        """A remark of a few words."""
        return self._fill(_ZH_SHORT if self.language == "zh" else _EN_SHORT)

    def paragraph(self, least: int = 2, most: int = 5) -> str:
        """Sentences of one paragraph."""
        joint = "" if self.language == "zh" else " "
        return joint.join(self.sentence() for _ in range(self.rng.randint(least, most)))

    def title(self) -> str:
        """A heading."""
        if self.language == "zh":
            return self._fill(
                ("{where}的{thing}", "{thing}与{thing}", "怎样检查{thing}", "{thing}使用说明", "关于{thing}的几点看法")
            )
        forms = ("The {thing} {where}", "{Thing} and {thing}", "How to check a {thing}", "Working with the {thing}")
        return self._fill((*forms, "Notes on the {thing}"))

    def noun(self) -> str:
        """The name of a thing."""
        return self._fill(("{thing}",))

    def quality(self) -> str:
        """What a thing is like."""
        return self._fill(("{adj}",))

    def name(self) -> str:
        """Somebody who writes."""
        return self.rng.choice(_NAMES_ZH if self.language == "zh" else _NAMES_EN)

    def pick(self, english: str, chinese: str) -> str:
        """The one of two that is in the language."""
        return chinese if self.language == "zh" else english

    def _fill(self, forms: tuple[str, ...]) -> str:
        words = _ZH if self.language == "zh" else _EN
        parts = self.rng.choice(forms).split("{")
        out = parts[0]
        for part in parts[1:]:
            name, rest = part.split("}", 1)
            if name == "n":
                value = str(self.rng.randint(2, 480))
            else:
                value = self.rng.choice(words[name.lower()].split("|"))
                value = value[0].upper() + value[1:] if name[0].isupper() else value
            out += value + rest
        return out
