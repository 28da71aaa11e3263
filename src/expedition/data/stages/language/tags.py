"""Codes of recognisers and of labelled sets as BCP-47 tags: two letters where ISO 639-1 has them, else three."""

from __future__ import annotations

import re
from typing import Final

_TWO_LETTERS_TEXT: Final = (
    "aar:aa abk:ab afr:af aka:ak amh:am ara:ar arg:an asm:as ava:av ave:ae aym:ay aze:az bak:ba bam:bm "
    "bel:be ben:bn bis:bi bod:bo bos:bs bre:br bul:bg cat:ca ces:cs cha:ch che:ce chu:cu chv:cv cor:kw "
    "cos:co cre:cr cym:cy dan:da deu:de div:dv dzo:dz ell:el eng:en epo:eo est:et eus:eu ewe:ee fao:fo "
    "fas:fa fij:fj fin:fi fra:fr fry:fy ful:ff gla:gd gle:ga glg:gl glv:gv grn:gn guj:gu hat:ht hau:ha "
    "heb:he her:hz hin:hi hmo:ho hrv:hr hun:hu hye:hy ibo:ig ido:io iii:ii iku:iu ile:ie ina:ia ind:id "
    "ipk:ik isl:is ita:it jav:jv jpn:ja kal:kl kan:kn kas:ks kat:ka kau:kr kaz:kk khm:km kik:ki kin:rw "
    "kir:ky kom:kv kon:kg kor:ko kua:kj kur:ku lao:lo lat:la lav:lv lim:li lin:ln lit:lt ltz:lb lub:lu "
    "lug:lg mah:mh mal:ml mar:mr mkd:mk mlg:mg mlt:mt mon:mn mri:mi msa:ms mya:my nau:na nav:nv nbl:nr "
    "nde:nd ndo:ng nep:ne nld:nl nno:nn nob:nb nor:no nya:ny oci:oc oji:oj ori:or orm:om oss:os pan:pa "
    "pli:pi pol:pl por:pt pus:ps que:qu roh:rm ron:ro run:rn rus:ru sag:sg san:sa sin:si slk:sk slv:sl "
    "sme:se smo:sm sna:sn snd:sd som:so sot:st spa:es sqi:sq srd:sc srp:sr ssw:ss sun:su swa:sw swe:sv "
    "tah:ty tam:ta tat:tt tel:te tgk:tg tgl:tl tha:th tir:ti ton:to tsn:tn tso:ts tuk:tk tur:tr twi:tw "
    "uig:ug ukr:uk urd:ur uzb:uz ven:ve vie:vi vol:vo wln:wa wol:wo xho:xh yid:yi yor:yo zha:za zho:zh "
    "zul:zu"
)
_TWO_LETTERS: Final = dict(pair.split(":") for pair in _TWO_LETTERS_TEXT.split())
# An individual language whose macrolanguage has the customary tag.
_CUSTOMARY_TEXT: Final = (
    "arb:ar pes:fa prs:fa-AF swh:sw zsm:ms zlm:ms ekk:et lvs:lv khk:mn uzn:uz azj:az als:sq plt:mg ydd:yi "
    "kmr:ku npi:ne ory:or pbu:ps pbt:ps pst:ps fuf:ff fuc:ff fuv:ff ffm:ff gaz:om hae:om quy:qu quz:qu "
    "ayr:ay gug:gn knc:kr cmn:zh fat:ak ike:iu ojb:oj swc:sw kng:kg src:sc srb:sr in:id iw:he ji:yi jw:jv "
    "mo:ro sh:sr tl:tl fil:tl no:nb nor:nb twi:ak tw:ak als-gsw:gsw eml:egl"
)
_CUSTOMARY: Final = dict(pair.split(":") for pair in _CUSTOMARY_TEXT.split())
_WHOLE: Final = re.compile(r"^[a-z]{2,3}$")


def tag_of(code: str) -> str:
    """A language code of ISO 639-1 or 639-3 (any case, suffixes after '_' or '-' allowed) as a primary BCP-47 tag.

    "und" where the code is none.
    """
    primary = re.split("[_-]", code.strip().lower())[0]
    if not _WHOLE.match(primary):
        return "und"
    primary = _TWO_LETTERS.get(primary, primary)
    return _CUSTOMARY.get(primary, primary)


def primary(tag: str) -> str:
    """The language of a tag without script and region: "zh" of "zh-Hant"."""
    return tag.split("-")[0]


_MEMBERS_TEXT: Final = (
    "qva:qu qvc:qu qvn:qu qxn:qu qwh:qu qxu:qu quh:qu qug:qu qvm:qu qvh:qu qud:qu qus:qu qul:qu qup:qu qxl:qu qub:qu "
    "ktu:kg tw:ak id:ms zlm:ms fa-AF:fa bs:sr hr:sr nn:nb mfa:ms lzh:zh ckb:ku sdh:ku kmr:ku "
    "arz:ar apc:ar ary:ar ajp:ar aeb:ar acm:ar rmn:rom rmy:rom hmn:hmn mww:hmn hea:hmn hna:hmn ccx:za zyb:za "
    "zza:zza diq:zza kiu:zza bxr:bua ojb:oj "
)
_MEMBERS: Final = dict(pair.split(":") for pair in _MEMBERS_TEXT.split())


def macrolanguage(tag: str) -> str:
    """The group within which labelled sets do not tell languages apart: macrolanguages of ISO 639-3, and the written
    norms of Serbo-Croatian and Norwegian."""
    return _MEMBERS.get(tag, tag)


_FORMS_TEXT: Final = (
    "az:Cyrl=az-Cyrl uz:Cyrl=uz-Cyrl sr:Latn=sr-Latn ug:Latn=ug-Latn kk:Arab=kk-Arab bs:Cyrl=bs-Cyrl tk:Cyrl=tk-Cyrl "
    "ku:Arab=ckb ms:Arab=ms-Arab pa:Arab=pnb tt:Latn=tt-Latn ff:Adlm=ff-Adlm jv:Java=jv-Java mn:Mong=mn-Mong "
    "ja:Latn=ja-Latn zh:Latn=zh-Latn hi:Latn=hi-Latn ru:Latn=ru-Latn sa:Gran=sa-Gran zh:Hans=zh-Hans zh:Hant=zh-Hant "
    "nan:Latn=nan-Latn su:Sund=su-Sund ky:Arab=ky-Arab tg:Arab=tg-Arab ks:Deva=ks-Deva sd:Deva=sd-Deva"
)
_FORMS: Final = dict(pair.split("=") for pair in _FORMS_TEXT.split())


def written_in(tag: str, script: str) -> str:
    """The tag of a language in a script (ISO 15924): with the script as a subtag where it is not the usual one."""
    return _FORMS.get(f"{tag}:{script}", tag)


def tag_with_script(code: str) -> str:
    """A label of a recogniser, such as "eng_Latn", "zho_Hant" or "en", as a BCP-47 tag; "und" where it is none."""
    tag = tag_of(code)
    script = next((part for part in re.split("[_-]", code)[1:] if len(part) == 4 and part.isalpha()), "")
    if tag == "zh":
        return f"zh-{script.title()}" if script.title() in ("Hans", "Hant") else "zh-Hans"
    return written_in(tag, script.title())
