"""Sentences with places for names, from which `name_training.py` makes labelled text. Written for this purpose.

Places: {per} person (any form), {first}, {last}, {full}; {loc} town, region or country; {org}; {job}; {hon} form of address;
{nat} nationality; {n} number, {year}, {day}, {w} any word of the dictionary, {W} the same with a capital.
"""

from __future__ import annotations

from typing import Final


def _lines(text: str) -> tuple[str, ...]:
    """A template a line; `\\n` within one is a new line."""
    return tuple(line.replace("\\n", "\n") for line in text.strip().splitlines())


ENGLISH: Final = _lines(r"""
{full} was born in {loc} in {year}.
{per} told reporters on {day} that the talks had failed.
"We are not ready," said {per}, who runs {org}.
According to {full}, a {job} at {org}, the results were surprising.
{hon} {last} refused to comment on the {w}.
{hon} {full} will speak at {org} in {loc} next week.
The {nat} {job} {full} won the prize in {year}.
{per} and {per} met in {loc} after the war.
{per}, {per} and {per} were the first to arrive.
{first} loves her {w}, but {first} hates the {w}.
My brother {first} lives in {loc}.
My name is {per}.
my name is {per} and i need help with my {w}
Hi {first}, thanks for your message about the {w}.
Dear {hon} {last}, we are writing to you about your {w}.
Dear {first}, please find the {w} attached.
Best regards, {full}
Kind regards,\n{full}\n{job}, {org}
Sincerely,\n{full}
Thanks,\n{first}
Contact: {full}, {org}, {loc}
Name: {full}
Customer name: {full}
Name: {full}\nOccupation: {job}\nEmployer: {org}
Full name: {full}\nCity: {loc}\nCountry: {loc}
Author: {full}
By {full}
Written by {full}, photographs by {full}
Directed by {full}
Starring {full}, {full} and {full}
Reviewed by {full} on {day}
Posted by {full} at {n}:{n}
Photo: {full}/{org}
From: {full}
To: {full}; {full}
Cc: {full}
> {full}\n> {org}\n> {loc}
{full}\n{job}\n{org}\n{loc}
{full}\n\n{job}\n\nPhone:
{full}, {n}, of {loc}, was arrested on {day}.
Police named the victim as {full}, {n}.
The court heard that {last} had left {loc} before midnight.
{last} scored twice as {loc} beat {loc} on {day}.
{last}'s second goal came after a pass from {last}.
{per}'s book about the {w} has been translated into {nat}.
{per}'s sister works for {org}.
I met {first} at the {w} yesterday.
I think {first} is right about this.
Have you seen {first}? She left her {w} here.
Did {first} call you back?
Where is {first} when you need him?
Can {first} come to the party on {day}?
Why did {per} leave {org}?
Who is {per}?
Ask {first} about the {w}, not me.
Tell {per} to bring the {w}.
He named his dog {first}.
They called the baby {first}.
Her maiden name is {last}.
His last name is {last}, his first name {first}.
User: {per}\nAgent: How can I help you, {first}?
Agent: What is your name? Customer: {full}
{first}: are you there?\n{first}: yes, one minute
@{first} thanks for the {w}!
lol {first} you are so funny
going to {loc} with {first} tomorrow, can't wait
{first} said hi btw
We flew from {loc} to {loc} on {day}.
We moved to {loc} last year.
She grew up in {loc}, {loc}.
The weather in {loc} is lovely in the spring.
It takes two hours from {loc} to {loc} by train.
The {w} of {loc} is known for its {w}.
Relations between {loc} and {loc} have improved.
The capital of {loc} is {loc}.
{loc} has a population of {n}.
I am in {loc} for work until {day}.
Is {loc} far from {loc}?
Greetings from {loc}!
{loc}, {day} - The government of {loc} said it would {w} the {w}.
The {nat} government and {org} signed the agreement in {loc}.
{org} announced a new {w} on {day}.
{org} was founded in {loc} by {full} in {year}.
{org} is a {nat} company that makes {w} and {w}.
Shares of {org} fell {n} percent.
She works at {org} as a {job}.
I used to work for {org} before I moved to {loc}.
He joined {org} in {year} as {job}.
{full}, {job} of {org}, said the {w} would open in {year}.
A spokesman for {org} said that {hon} {last} had resigned.
The {org} office in {loc} is closed on {day}.
{org} and {org} are working together on the {w}.
I would never buy from {org} again.
My son wants to become a {job}.
{full} ({year}-{year}) was a {nat} {job}.
{full} (born {year}) is a {nat} {job} from {loc}.
As {last} ({year}) has shown, the {w} is not a {w}.
{last} and {last} ({year}) found no effect.
{last}, {first} {year}. The {W} of the {W}.
See {last} et al. for a review.
Thanks to {full} for the helpful comments.
The song was written by {per} and sung by {per}.
{last}'s guitar on the {year} album is unforgettable.
Fans of {per} will love this record.
In "The {W}", {full} plays a {job} from {loc}.
Then {per} walked in and saw the {w}.
"{first}, come here!" shouted {first}.
"I don't know," {first} said.
"Nobody told me," replied {hon} {last}.
{first} smiled. "{first} would have liked this place."
{first} opened the door, and {first} looked at the {w}.
Old {last} never talked about {loc}.
After lunch {hon} {last} flew to {loc}.
Please transfer the money to {full} at {org}.
Please change the name on my account to {hon} {full}.
The account belongs to {full}, {loc}.
I want to speak with {hon} {last} from {org}.
Send it to {full}, {loc}.
Billing: {full}\n{loc}\n{loc}
The witness, {full}, identified {full} as the driver.
The party of {full} lost the election in {loc}.
President {last} visited {loc} on {day}.
Senator {full} of {loc} voted against the bill.
Queen {first} opened the {w}.
St. {first} is the patron of {loc}.
The {last} family has owned the {w} since {year}.
The {last} brothers founded {org}.
Today {per} turns {n}. Happy birthday, {first}!
RIP {full}, you will be missed
I can't believe {full} is dead.
Coach {last} was not happy with the {w}.
Winner: {full} ({loc})
1. {full} {n}\n2. {full} {n}\n3. {full} {n}
{full} - {job}
{full} | {org}
{full}, PhD
Interview with {full}
A letter from {full} to {full}
{full} vs. {full}
Follow {full} on the web
{full} founded {org} in {year}.
{full} and {full} shook hands.
{full} {w} the {w}.
Yesterday {full} {w} about {org} and {org}.
{loc} borders {loc} and {loc}.
{loc} said the sanctions would continue.
{loc} is a city in {loc}.
Storm hits {loc}, {n} dead
The {loc} {w} is closed.
The {loc} police arrested {full} on {day}.
quarterback {full} threw for {n} yards
{loc} {job} {full} said {day} was a sad day.
{full}, the {w} of {loc}, and {full}, the {job}
tell {first} to call me when he gets home
did you see {first} at the {w}? she was with {first}
{first} and me went to {loc} last summer
The trade deal between {loc} and {loc} was signed on {day}.
{loc}'s {w} rose {n} percent, while {loc}'s fell.
a {loc}-based {w} maker
The {loc} market closed higher.
{loc} has warned {loc} about the {w}.
at a hospital in {loc} after suffering a {w}
in {loc} and in {loc}, {w} and {w} are {w}
Tour dates: May {n} - {org}, {loc}
May {n} - {org}, {loc}
{last} pulled off the {w} and hit {last} with it.
That is what {hon} {last} said when {last} was asked.
My wife {first} and I went through a {w}.
the nation's leader, {last}, spoke to {hon} {last}
{hon} {last} ordered the {w}; {last} denied it.
{org}'s CEO {full} praised {last}.
Attorney {full} said his client {w} the {w}.
{last} ({n}) and {last} ({n}) scored for {loc}.
{loc} {n}, {loc} {n}
""")

NEGATIVE: Final = _lines(r"""
The meeting in May was cancelled, and Will You Be There is a song.
May I help you with your order?
Will this work on Windows or Linux?
I bought a new Ford and a Dell at the Paris Hilton Hotel.
How can I request a new credit card?
What is the limit on my card?
Please cancel my subscription on Monday.
Click Next to continue, then press Enter.
Terms of Service and Privacy Policy
Frequently Asked Questions
Home About Contact Login
Copyright 2019 All Rights Reserved
Table of Contents
Chapter One: The Beginning
New Year's Eve and Christmas Day are holidays.
The Second World War ended in 1945.
God bless you and Merry Christmas to everyone!
Action, Comedy, Drama, Romance, Science Fiction & Fantasy
The iPhone and the Android phone use Bluetooth.
Read More Reviews Here
Add to Cart
Dear Sir or Madam, I am writing to apply for the post.
Dear Customer, your order has been shipped.
Hello everyone, welcome to our website!
Good Morning America and The Late Show are programmes.
Mark your calendar and Bill me later.
I will be Frank with you: Grace under pressure is rare.
Summer and Autumn are warm, Spring is wet.
The Old Testament and the New Testament
She has a Master of Arts and a Bachelor of Science.
Tip: Use the Search box. Note: Save your work.
WHAT IS GOING ON HERE???
I DON'T UNDERSTAND ANY OF THIS
Error: File Not Found
Rock and Roll, Hip Hop, Jazz and Blues
We need more Eggs, Butter and Sugar.
The Great Wall, the Eiffel Tower and the White House are famous.
Monopoly is a game; Scrabble is another.
The Bible, the Quran and the Torah
English and Maths are hard, History is easy.
Mom and Dad went to the store, Grandma stayed.
The Internet of Things, Big Data and Artificial Intelligence
He is a Democrat, she is a Republican.
PDF, HTML and XML files
JavaScript, Python and Java are languages.
The Sun, the Moon and Mars
Level Up! Game Over! You Win!
Email: Password: Username: Address: Phone: Website: Personal Info:
Best of luck with your job search.
Happy Birthday to you!
""")

CHINESE: Final = _lines(r"""
我叫{per}，来自{w}。
我是{per}，请问有什么可以帮您？
大家好，我叫{per}，今年{n}岁。
{per}说，{w}{w}{w}。
{per}表示，{w}{w}。
记者{per}报道
（记者{per} 通讯员{per}）
编辑：{per}
责任编辑：{per}
作者：{per}
文/{per}
姓名：{per}
姓名：{per} 电话：
联系人：{per}
收货人：{per}，{w}
客户{per}的{w}已经{w}。
{per}先生，您好！
{per}女士您的{w}已送达。
尊敬的{per}先生：
{sur}先生，您的{w}到了。
{per}老师讲得很好。
{per}同学{w}了{w}。
{per}教授和{per}博士{w}{w}。
校长{per}出席了{w}。
总经理{per}{w}。
市委书记{per}在{w}上强调
国家主席{per}会见了{w}
由{per}主演的{w}
导演{per}的{w}
{per}、{per}和{per}获得了{w}。
{per}、{per}、{per}等人参加了{w}。
{per}和{per}是{w}。
{per}与{per}{w}。
{w}是{per}的{w}。
{w}由{per}负责。
请转告{per}，{w}{w}。
请联系{per}。
请找{per}办理{w}。
我的朋友{per}在{w}。
我和{per}一起{w}。
昨天{per}去了{w}。
今天{per}没来{w}。
{per}今天{w}。
{per}在{w}{w}。
{per}于{n}年{n}月{w}。
{per}，男，{n}岁，{w}人。
{per}，女，汉族，{n}年{n}月出生。
{per}的身份证
{per}的手机号是
{per}的地址是
{per}的{w}
户名：{per}
户主{per}
开户人{per}，{w}
患者{per}，{w}{n}天。
患者：{per}
被告人{per}犯{w}罪
原告{per}诉被告{per}
嫌疑人{per}被{w}。
身份证姓名{per}
备注{per}
寄给{per}
寄件人：{per}
转账给{per}{n}元
{per}转{w}
@{per} {w}{w}
{per}：{w}{w}？
{per}：好的
谢谢{per}！
祝{per}生日快乐
{per}的妈妈{w}。
她叫{per}。
他的名字叫{per}，{w}。
名叫{per}的{w}
据{per}介绍，{w}{w}{w}。
快递员{per}为您{w}
司机{per}，车牌
车主{per}{w}
员工{per}{w}{w}
负责人{per}，联系电话
银行卡持卡人{per}
申请人{per}于{n}日{w}
面试者{per}
欢迎{per}加入{w}
{w}{w}，{per}{w}{w}。
{w}{w}{per}{w}{w}。
签收人：{per}
{per}身高{n}米
{per}创办了{w}
{per}获得{w}奖
{per}写的{w}
{per}和{w}都{w}
{per}昨天{w}
{per}没来{w}，让{per}{w}。
{per}对{w}说：{w}
{per}因{w}被{w}
{sur}女士和{sur}先生{w}
{sur}先生和{sur}女士{w}到{w}
{sur}老师{w}
{sur}总{w}
预约人{per}，{w}
会员{per}，您的{w}
""")

CHINESE_NEGATIVE: Final = _lines(r"""
您好，请问有什么可以帮您？
客服热线已停用，请使用网站留言。
本次会议于{n}年{n}月{n}日举行，共有{n}人参加。
产品型号为{n}，价格{n}元，库存{n}件。
全文共{n}页，约{n}字，详见第{n}页。
高兴地看到{w}{w}。
方法如下：{w}{w}
周末去哪里玩？
周一到周五上班
马上就好，请稍候。
何时可以发货？
任何人不得{w}。
白天{w}，晚上{w}。
金额为{n}元，请确认。
和平与发展是{w}。
时间：{n}点 地点：{w}
成功登录，{w}
万元以上的{w}
常见问题：{w}
许多人认为{w}
黄金价格{w}
江南的{w}很{w}。
温度{n}度，{w}
关于{w}的通知
安全提示：{w}
应当{w}，不得{w}。
于是{w}就{w}了。
张贴{w}，禁止{w}。
王国的{w}
石油价格{w}
雷雨天气{w}
水平很高，{w}
路上{w}很多。
毛衣{n}件，{w}
双方同意{w}
{w}{w}{w}{w}。
{w}{w}，{w}{w}{w}。
{w}、{w}和{w}
""")

_NATIONALITIES_TEXT: Final = (
    "American British English Scottish Welsh Irish French German Italian Spanish Portuguese Dutch Belgian Swiss"
    " Austrian Swedish Norwegian Danish Finnish Icelandic Polish Czech Slovak Slovenian Croatian Serbian Bosnian"
    " Hungarian Romanian Bulgarian Greek Turkish Russian Ukrainian Belarusian Lithuanian Latvian Estonian"
    " Georgian Armenian Israeli Iranian Iraqi Syrian Lebanese Egyptian Moroccan Algerian Tunisian Libyan Saudi"
    " Indian Pakistani Bangladeshi Nepalese Chinese Japanese Korean Taiwanese Vietnamese Thai Malaysian"
    " Indonesian Filipino Australian Canadian Mexican Brazilian Argentine Argentinian Chilean Peruvian Colombian"
    " Venezuelan Cuban Jamaican Nigerian Ghanaian Kenyan Ethiopian Somali Sudanese Ugandan Tanzanian Zimbabwean"
    " Albanian Macedonian Maltese Cypriot Afghan Kazakh Uzbek Mongolian Cambodian Burmese Greenlander European"
    " African Asian Arab Jewish Muslim Christian Catholic Hindu Buddhist Palestinian Hispanic Latino Kurdish"
    " Tibetan Luxembourgish Singaporean Bolivian Ecuadorian Uruguayan Paraguayan Dominican Haitian"
)
NATIONALITIES: Final = tuple(_NATIONALITIES_TEXT.split())
