"""Short true-to-life sentences about the small world in many languages, minority languages and dialects among them.

`{name}` and `{number}` are filled in, so that two pages of one language are never the same.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from expedition.sampleworld.world import NAMES, pick

_FIXED_LINES = 7
_NAMED_LINES = 4


@dataclass(frozen=True, slots=True)
class Tongue:
    """One language (BCP-47): sentences that stand alone, and sentences about somebody."""

    tag: str
    lines: tuple[str, ...]
    named: tuple[str, ...]
    joiner: str = " "

    def paragraphs(self, rng: np.random.Generator) -> list[str]:
        """A short text of two paragraphs, seven fixed and four filled-in sentences."""
        chosen = [self.lines[int(i)] for i in rng.permutation(len(self.lines))[:_FIXED_LINES]]
        for number in range(_NAMED_LINES):
            form = self.named[number % len(self.named)]
            chosen.append(form.format(name=pick(rng, NAMES), number=int(rng.integers(5, 95))))
        order = rng.permutation(len(chosen))
        lines = [chosen[int(i)] for i in order]
        return [self.joiner.join(lines[:6]), self.joiner.join(lines[6:])]


def _tongue(tag: str, text: str, named: str, joiner: str = " ") -> Tongue:
    split = [tuple(line.strip() for line in block.strip().splitlines()) for block in (text, named)]
    return Tongue(tag, split[0], split[1], joiner)


TONGUES: tuple[Tongue, ...] = (
    _tongue(
        "zh",
        """
        桌子上放着一个红色的盒子，里面有三本书。
        孩子们正在河边玩，天气非常好。
        我们今天要去市场买一些水果和蔬菜。
        她送给我两朵黄色的花，我把它们放在窗边。
        妈妈每天早上都会泡一壶热茶。
        这条路在前面向左转弯，请大家慢一点开车。
        我们学校有很多学生，他们都喜欢画画。
        晚上大家坐在一起吃饭，聊聊一天的事情。
        他们在山上看见了一只白色的小鸟。
        我的朋友最喜欢蓝色，因为那是大海的颜色。
        下雨的时候，他在家里看书，不愿意出门。
        图画的左边有两个绿色的圆形，右边有一个三角形。
        """,
        """
        {name}今年{number}岁了，住在小镇的东边。
        {name}的家在第{number}号，门口有一棵大树。
        """,
        "",
    ),
    _tongue(
        "yue",
        """
        呢個盒係紅色嘅，入面有三個波。
        佢哋今日唔喺屋企，去咗街市買餸。
        我哋琴日喺河邊睇到一隻白色嘅雀仔。
        你知唔知呢幅畫係邊個畫㗎？
        阿妹話佢鍾意藍色多過綠色。
        呢條街嘅屋都係新起嘅，好靚。
        細路哥喺學校度學數手指，由一數到十。
        落雨嗰陣，佢冇帶遮，成身濕晒。
        嗰架車轉左之後就停咗喺度。
        今晚食完飯，我哋一齊行吓先返屋企。
        佢畀咗兩個黃色嘅圈我，我擺咗喺枱面。
        啲人話呢度嘅湯好好飲，不如試吓啦。
        """,
        """
        {name}今年{number}歲，佢住喺呢度好耐㗎喇。
        {name}屋企喺{number}號，門口有棵大樹嘅。
        """,
        "",
    ),
    _tongue(
        "wuu",
        """
        阿拉今朝到河边头去白相。
        侬晓得伐，搿只盒子是红颜色个。
        伊拉屋里向有三只猫，侪是白个。
        我昨日仔买了两只蓝颜色个圈。
        搿个小囡邪气欢喜画图画。
        落雨天伊勿肯出去，蹲辣屋里向看书。
        侬看，左面个房子比右面个高。
        阿拉学堂里向有交关小朋友。
        搿部车子开得老快个，后首来停脱了。
        夜饭吃好，阿拉一道荡马路。
        伊讲搿碗汤味道老好个。
        桌子浪向摆了三只黄颜色个球。
        """,
        """
        {name}今年{number}岁，伊蹲辣搿搭老长远了。
        {name}屋里向辣{number}号，门口头有棵大树。
        """,
        "",
    ),
    _tongue(
        "nan",
        """
        這个箱仔是紅色的，內底有三粒球。
        阮今仔日欲去菜市仔買菜。
        伊昨昏佇溪邊看著一隻白色的鳥仔。
        你敢知影這幅圖是啥人畫的？
        阿妹講伊較佮意青色，無佮意紅色。
        這條街仔的厝攏是新起的，誠媠。
        囡仔佇學校學算數，對一算到十。
        落雨的時陣，伊無紮雨傘，規身軀澹糊糊。
        彼台車斡正爿了後就停落來矣。
        食飽了後，咱做伙行轉去厝裡。
        伊予我兩个黃色的箍仔，我囥佇桌頂。
        遮的湯真好啉，你嘛來啉看覓。
        """,
        """
        {name}今年{number}歲，伊蹛佇遮真久矣。
        {name}個兜佇{number}號，門口有一欉大樹。
        """,
        "",
    ),
    _tongue(
        "bo",
        """
        ཁང་པ་འདི་ཆེན་པོ་རེད། སྒོ་དེ་དམར་པོ་རེད།
        ངའི་མིང་ལ་བཀྲ་ཤིས་ཟེར།
        སྒམ་དམར་པོ་དེའི་ནང་ལ་དེབ་གསུམ་ཡོད།
        ང་ཚོ་དེ་རིང་སློབ་གྲྭར་འགྲོ་གི་ཡིན།
        ཆུ་འདི་གྲང་མོ་རེད།
        བྱིས་པ་གཉིས་གཙང་པོའི་འགྲམ་ལ་རྩེད་མོ་རྩེ་གི་འདུག།
        ཁོ་ཚོས་བྱ་དཀར་པོ་ཞིག་མཐོང་སོང་།
        མོས་ང་ལ་མེ་ཏོག་སེར་པོ་གཉིས་སྤྲད་སོང་།
        ཁྲོམ་ལ་ཚོང་ཁང་མང་པོ་ཡོད།
        ལམ་འདི་གཡོན་ཕྱོགས་ལ་འཁྱོག་གི་འདུག།
        ང་ཚོའི་གྲོང་གསེབ་ནི་རི་བོའི་འགྲམ་ན་ཡོད།
        དགོང་མོ་ང་ཚོ་མཉམ་དུ་ཁ་ལག་བཟའ་གི་ཡིན།
        """,
        """
        {name} ལོ་ {number} ཡིན། ཁོང་གྲོང་གསེབ་འདིར་སྡོད་ཀྱི་ཡོད།
        {name} ཡི་ཁང་པའི་ཨང་གྲངས་ནི་ {number} རེད།
        """,
    ),
    _tongue(
        "ug",
        """
        بۇ ئۆي چوڭ، ئىشىكى قىزىل.
        ساندۇقنىڭ ئىچىدە ئۈچ كىتاب بار.
        بىز بۈگۈن بازارغا بارىمىز.
        بالىلار دەريا بويىدا ئوينايدۇ.
        ئۇ ماڭا ئىككى دانە سېرىق گۈل بەردى.
        ئاپام ھەر كۈنى ئەتىگەندە چاي قاينىتىدۇ.
        بۇ يول سولغا بۇرۇلىدۇ.
        مەكتىپىمىزدە نۇرغۇن ئوقۇغۇچى بار.
        كەچتە بىز بىللە تاماق يەيمىز.
        ئۇلار تاغدا ئاق قۇشنى كۆردى.
        مېنىڭ دوستۇم كۆك رەڭنى ياخشى كۆرىدۇ.
        يامغۇر ياغقاندا ئۇ ئۆيدە كىتاب ئوقۇيدۇ.
        """,
        """
        {name} بۇ يىل {number} ياشقا كىردى، ئۇ بىزنىڭ مەھەللىدە تۇرىدۇ.
        {name} نىڭ ئۆيى {number} نومۇرلۇق، ئىشىك ئالدىدا چوڭ دەرەخ بار.
        """,
    ),
    _tongue(
        "mn",
        """
        Энэ байшин том, хаалга нь улаан өнгөтэй.
        Хайрцаг дотор гурван ном байна.
        Бид өнөөдөр зах руу явна.
        Хүүхдүүд голын эрэг дээр тоглож байна.
        Тэр надад хоёр шар цэцэг өгсөн.
        Ээж минь өглөө бүр цай чанадаг.
        Энэ зам зүүн тийш эргэдэг.
        Манай сургуульд олон сурагч бий.
        Орой бид хамтдаа хоол иддэг.
        Тэд уулан дээр цагаан шувуу харсан.
        Миний найз цэнхэр өнгөнд дуртай.
        Бороо орох үед тэр гэртээ ном уншдаг.
        """,
        """
        {name} энэ жил {number} настай, манай тосгонд амьдардаг.
        {name} {number} тоот байшинд амьдардаг, үүдэнд нь том мод бий.
        """,
    ),
    _tongue(
        "kk",
        """
        Бұл үй үлкен, есігі қызыл түсті.
        Қораптың ішінде үш кітап бар.
        Біз бүгін базарға барамыз.
        Балалар өзен жағасында ойнап жүр.
        Ол маған екі сары гүл берді.
        Анам күн сайын таңертең шай қайнатады.
        Бұл жол солға бұрылады.
        Біздің мектепте оқушылар көп.
        Кешке біз бірге тамақ ішеміз.
        Олар тауда ақ құсты көрді.
        Менің досым көк түсті жақсы көреді.
        Жаңбыр жауғанда ол үйде кітап оқиды.
        """,
        """
        {name} биыл {number} жаста, ол біздің ауылда тұрады.
        {name} {number} нөмірлі үйде тұрады, есік алдында үлкен ағаш бар.
        """,
    ),
    _tongue(
        "cy",
        """
        Mae'r tŷ hwn yn fawr ac mae'r drws yn goch.
        Mae tri llyfr yn y blwch ar y bwrdd.
        Rydyn ni'n mynd i'r farchnad heddiw.
        Mae'r plant yn chwarae wrth yr afon.
        Rhoddodd hi ddau flodyn melyn i mi.
        Mae fy mam yn gwneud te bob bore.
        Mae'r ffordd hon yn troi i'r chwith.
        Mae llawer o ddisgyblion yn ein hysgol ni.
        Rydyn ni'n bwyta gyda'n gilydd gyda'r nos.
        Gwelon nhw aderyn gwyn ar y mynydd.
        Mae fy ffrind yn hoffi'r lliw glas.
        Pan mae'n bwrw glaw, mae e'n darllen llyfr gartref.
        """,
        """
        Mae {name} yn {number} oed ac yn byw yn y pentref.
        Mae {name} yn byw yn rhif {number}, ac mae coeden fawr wrth y drws.
        """,
    ),
    _tongue(
        "eu",
        """
        Etxe hau handia da eta atea gorria da.
        Hiru liburu daude mahai gaineko kutxan.
        Gaur azokara goaz barazkiak erostera.
        Haurrak ibaiaren ondoan jolasten ari dira.
        Bi lore hori eman dizkit.
        Nire amak goizero tea prestatzen du.
        Bide hau ezkerrera doa.
        Gure eskolan ikasle asko daude.
        Arratsean elkarrekin afaltzen dugu.
        Txori zuri bat ikusi zuten mendian.
        Nire lagunari kolore urdina gustatzen zaio.
        Euria egiten duenean, liburu bat irakurtzen du etxean.
        """,
        """
        Gure laguna {name} da, {number} urte ditu eta herrian bizi da.
        Etxe horretan {name} bizi da, {number} zenbakian, eta zuhaitz handi bat dago atean.
        """,
    ),
    _tongue(
        "gd",
        """
        Tha an taigh seo mòr agus tha an doras dearg.
        Tha trì leabhraichean anns a' bhogsa.
        Tha sinn a' dol dhan mhargaidh an-diugh.
        Tha a' chlann a' cluich ri taobh na h-aibhne.
        Thug i dhomh dà fhlùr bhuidhe.
        Bidh mo mhàthair a' dèanamh tì a h-uile madainn.
        Tha an rathad seo a' tionndadh gu clì.
        Tha mòran sgoilearan anns an sgoil againn.
        Bidh sinn ag ithe còmhla feasgar.
        Chunnaic iad eun geal air a' bheinn.
        Is toil le mo charaid an dath gorm.
        Nuair a bhios an t-uisge ann, bidh e a' leughadh leabhar aig an taigh.
        """,
        """
        Tha {name} {number} bliadhna a dh'aois agus tha an teaghlach a' fuireach anns a' bhaile.
        Tha {name} a' fuireach aig àireamh {number}, agus tha craobh mhòr ri taobh an dorais.
        """,
    ),
    _tongue(
        "sw",
        """
        Nyumba hii ni kubwa na mlango wake ni mwekundu.
        Kuna vitabu vitatu ndani ya sanduku.
        Leo tunakwenda sokoni kununua matunda.
        Watoto wanacheza kando ya mto.
        Alinipa maua mawili ya manjano.
        Mama yangu hupika chai kila asubuhi.
        Barabara hii inapinda kushoto.
        Shule yetu ina wanafunzi wengi.
        Jioni tunakula chakula pamoja.
        Waliona ndege mweupe mlimani.
        Rafiki yangu anapenda rangi ya bluu.
        Mvua ikinyesha, yeye husoma kitabu nyumbani.
        """,
        """
        {name} ana umri wa miaka {number} na anaishi kijijini.
        {name} anaishi nyumba namba {number}, na kuna mti mkubwa mlangoni.
        """,
    ),
    _tongue(
        "de",
        """
        Dieses Haus ist groß und die Tür ist rot.
        In der Kiste auf dem Tisch liegen drei Bücher.
        Wir gehen heute auf den Markt und kaufen Obst.
        Die Kinder spielen am Ufer des Flusses.
        Sie hat mir zwei gelbe Blumen gegeben.
        Meine Mutter kocht jeden Morgen Tee.
        Diese Straße biegt nach links ab.
        In unserer Schule gibt es viele Schüler.
        Am Abend essen wir alle zusammen.
        Sie haben auf dem Berg einen weißen Vogel gesehen.
        Mein Freund mag die Farbe Blau am liebsten.
        Wenn es regnet, liest er zu Hause ein Buch.
        """,
        """
        {name} ist {number} Jahre alt und wohnt im Dorf.
        {name} wohnt in der Nummer {number}, und vor der Tür steht ein großer Baum.
        """,
    ),
    _tongue(
        "fr",
        """
        Cette maison est grande et la porte est rouge.
        Il y a trois livres dans la boîte sur la table.
        Nous allons au marché aujourd'hui pour acheter des fruits.
        Les enfants jouent au bord de la rivière.
        Elle m'a donné deux fleurs jaunes.
        Ma mère prépare du thé tous les matins.
        Cette route tourne à gauche après le pont.
        Il y a beaucoup d'élèves dans notre école.
        Le soir, nous mangeons tous ensemble.
        Ils ont vu un oiseau blanc sur la montagne.
        Mon ami préfère la couleur bleue.
        Quand il pleut, il lit un livre à la maison.
        """,
        """
        {name} a {number} ans et habite dans le village.
        {name} habite au numéro {number}, et il y a un grand arbre devant la porte.
        """,
    ),
    _tongue(
        "es",
        """
        Esta casa es grande y la puerta es roja.
        Hay tres libros en la caja que está sobre la mesa.
        Hoy vamos al mercado a comprar fruta.
        Los niños juegan a la orilla del río.
        Ella me dio dos flores amarillas.
        Mi madre prepara té todas las mañanas.
        Este camino gira a la izquierda.
        En nuestra escuela hay muchos alumnos.
        Por la noche comemos todos juntos.
        Vieron un pájaro blanco en la montaña.
        A mi amigo le gusta el color azul.
        Cuando llueve, él lee un libro en casa.
        """,
        """
        {name} tiene {number} años y vive en el pueblo.
        {name} vive en el número {number}, y hay un árbol grande delante de la puerta.
        """,
    ),
    _tongue(
        "ru",
        """
        Этот дом большой, а дверь у него красная.
        В коробке на столе лежат три книги.
        Сегодня мы идём на рынок за фруктами.
        Дети играют на берегу реки.
        Она подарила мне два жёлтых цветка.
        Моя мама каждое утро заваривает чай.
        Эта дорога поворачивает налево.
        В нашей школе много учеников.
        Вечером мы ужинаем все вместе.
        Они увидели на горе белую птицу.
        Мой друг любит синий цвет.
        Когда идёт дождь, он читает книгу дома.
        """,
        """
        В этом году {name} отмечает день рождения: {number} лет, и гости приедут в деревню.
        В доме номер {number} живёт {name}, а у двери растёт большое дерево.
        """,
    ),
    _tongue(
        "ja",
        """
        この家はとても大きくて、ドアは赤いです。
        机の上の箱の中に本が三冊あります。
        今日は市場へ果物を買いに行きます。
        子どもたちは川のそばで遊んでいます。
        彼女は黄色い花を二本くれました。
        母は毎朝お茶をいれます。
        この道は左に曲がっています。
        私たちの学校には生徒がたくさんいます。
        夜はみんなで一緒にご飯を食べます。
        彼らは山で白い鳥を見ました。
        友だちは青い色が好きです。
        雨が降ると、彼は家で本を読みます。
        """,
        """
        {name}さんは今年{number}歳で、この村に住んでいます。
        {name}さんの家は{number}番地で、玄関の前に大きな木があります。
        """,
        "",
    ),
    _tongue(
        "ko",
        """
        이 집은 아주 크고 문은 빨간색입니다.
        책상 위의 상자 안에 책이 세 권 있습니다.
        우리는 오늘 시장에 과일을 사러 갑니다.
        아이들이 강가에서 놀고 있습니다.
        그녀는 나에게 노란 꽃 두 송이를 주었습니다.
        어머니는 매일 아침 차를 끓이십니다.
        이 길은 왼쪽으로 굽어 있습니다.
        우리 학교에는 학생이 많습니다.
        저녁에는 모두 함께 밥을 먹습니다.
        그들은 산에서 하얀 새를 보았습니다.
        내 친구는 파란색을 좋아합니다.
        비가 오면 그는 집에서 책을 읽습니다.
        """,
        """
        {name} 씨는 올해 {number}살이고 이 마을에 삽니다.
        {name} 씨의 집은 {number}번지이고 문 앞에 큰 나무가 있습니다.
        """,
    ),
    _tongue(
        "ar",
        """
        هذا البيت كبير وبابه أحمر.
        توجد ثلاثة كتب في الصندوق على الطاولة.
        سنذهب اليوم إلى السوق لشراء الفاكهة.
        يلعب الأطفال على ضفة النهر.
        أعطتني زهرتين صفراوين.
        تعد أمي الشاي كل صباح.
        هذا الطريق ينعطف إلى اليسار.
        في مدرستنا تلاميذ كثيرون.
        في المساء نأكل معا.
        رأوا طائرا أبيض على الجبل.
        صديقي يحب اللون الأزرق.
        عندما ينزل المطر يقرأ كتابا في البيت.
        """,
        """
        صديقنا {name} عمره {number} سنة ويسكن في القرية.
        يسكن {name} في البيت رقم {number} وأمام الباب شجرة كبيرة.
        """,
    ),
    _tongue(
        "hi",
        """
        यह घर बड़ा है और इसका दरवाज़ा लाल है।
        मेज़ पर रखे डिब्बे में तीन किताबें हैं।
        आज हम फल ख़रीदने बाज़ार जा रहे हैं।
        बच्चे नदी के किनारे खेल रहे हैं।
        उसने मुझे दो पीले फूल दिए।
        मेरी माँ हर सुबह चाय बनाती हैं।
        यह सड़क बाईं ओर मुड़ती है।
        हमारे स्कूल में बहुत से छात्र हैं।
        शाम को हम सब साथ में खाना खाते हैं।
        उन्होंने पहाड़ पर एक सफ़ेद पक्षी देखा।
        मेरे दोस्त को नीला रंग पसंद है।
        जब बारिश होती है, तो वह घर पर किताब पढ़ता है।
        """,
        """
        {name} की उम्र {number} साल है और वह गाँव में रहती है।
        {name} का घर नंबर {number} है और दरवाज़े के सामने एक बड़ा पेड़ है।
        """,
    ),
    _tongue(
        "tr",
        """
        Bu ev çok büyük ve kapısı kırmızı.
        Masanın üstündeki kutuda üç kitap var.
        Bugün meyve almak için pazara gidiyoruz.
        Çocuklar nehrin kenarında oynuyor.
        Bana iki tane sarı çiçek verdi.
        Annem her sabah çay demler.
        Bu yol sola dönüyor.
        Okulumuzda çok öğrenci var.
        Akşamları hep birlikte yemek yeriz.
        Dağda beyaz bir kuş gördüler.
        Arkadaşım mavi rengi çok sever.
        Yağmur yağınca evde kitap okur.
        """,
        """
        {name} bu yıl {number} yaşında ve köyde yaşıyor.
        {name} {number} numaralı evde oturuyor ve kapının önünde büyük bir ağaç var.
        """,
    ),
)
"""All languages but English, whose texts are made sentence by sentence in prose.py."""
