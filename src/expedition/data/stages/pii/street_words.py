"""Words of street addresses, as alternatives of patterns. `SURE` words prove an address beside a number and a name; the
`WEAK` are words of ordinary prose too and count with a capital only, and further evidence."""

from __future__ import annotations

from typing import Final

PARTICLES: Final = (
    "de|del|della|dello|dei|di|da|do|dos|das|du|des|la|le|les|el|los|las|van|von|der|den|het|of|the|of the|y|e"
)

SURE_BEHIND: Final = (
    "street|st|avenue|ave|road|rd|lane|ln|boulevard|blvd|crescent|cres|parkway|pkwy|highway|hwy|turnpike|mews|esplanade"
    "|causeway|drive|dr|strasse|straße|gasse|laan|straat|gade|vej|gatan|vägen|gata|veien|katu|utca|útja|ulica|náměstí"
    "|třída|caddesi|sokak|marg|bypass|expressway"
)
WEAK_BEHIND: Final = (
    "Close|Court|Ct|Terrace|Ter|Place|Pl|Square|Sq|Way|Circle|Cir|Alley|Grove|Gardens|Gdns|Hill|Hills|Row|Walk|Quay|Wharf"
    "|Trail|Trl|Loop|Gate|Rise|Mount|View|Green|Plaza|Route|Path|Ridge|Run|Point|Heights|Passage|Promenade|Park|Pike|Track"
    "|Union|Junction|Isle|Lodge|Flats|Forks|Bridge|Field|Fields|Meadow|Meadows|Cove|Crossing|Landing|Spur|Springs|Valley"
    "|Village|Vista|Mill|Mills|Manor|Knoll|Island|Haven|Glen|Garden|Ferry|Estate|Estates|Dale|Creek|Corner|Common|Club"
    "|Cliff|Camp|Brook|Branch|Bend|Bay|Center|Centre|Orchard|Parade|Weg|Platz|Allee|Ring|Damm|Ufer|Plein|Gate|Vei|Tie"
    "|tér|tere|út|körút|trg|tänav|maantee|mnt|pst"
)
SURE_IN_FRONT: Final = (
    "rue|avenue|boulevard|chemin|allée|allees|allées|impasse|quai|viale|vicolo|piazza|piazzale|calle|c/|avenida|avda"
    "|paseo|carretera|ctra|travesía|rúa|rua|travessa|praça|alameda|rodovia|ul\\.|ulica|aleja|plac|bulevardul|calea|rruga"
    "|jalan|passeig|carrer|jirón|strada|largo do|largo da|largo de|plaza|plaça|place de la|place du|place des|route de"
    "|route des|route du|cours|corso|contrada|glorieta|cañada|pasaje|cuesta|rambla|acceso"
    "|urbanización|borgo|vila|condomínio|aleje|ladeira|quadra|callejón|pasadizo"
)
WEAK_IN_FRONT: Final = (
    "pl\\.|al\\.|os\\.|Via|Largo|Ronda|Camino|Estrada|Carrera|Cra|Transversal|Av|Bd|Cl|Pl|Os|Str"
    "|An der|Im|Zum|Zur|In der|Unter den|Sokak|Jl"
)
BETWEEN: Final = (
    "street|strasse|straße|str|avenue|road|gade|vej|gate|vei|veien|veg|gata|gatan|väg|vägen|katu|kuja|polku|tie|utca|út|útja|útca|u\\."
    "|tér|tere|körút|weg|platz|allee|laan|straat|plein|odos|sokak|caddesi|cad|sok|tänav|mnt|pst|gasse|ring|náměstí|trg|ulice"
    "|ulica|krt|köz|sor|stræde|plads|torg|allé"
)
HUNGARIAN: Final = "utca|utcája|út|útja|tér|tere|körút|körútja"
COMPOUND: Final = (
    "strasse|straße|strass|str|gasse|weg|platz|allee|damm|graben|steig|vej|vænget|(?<![Bb]ri)gade|gata|gatan|gaten|veien"
    "|vegen|vei|veg|vägen|väg|stigen|stien|katu|kuja|ntie|polku|kaari|bulevardi|stræde|laan|straat|plein|dreef|singel|kade|gracht|steenweg"
    "|braut|vegur|gerði|götu|hlíð|bakken|svingen|backen|gränd|torget|plassen|plads|allé|puiestee|utca"
)
HYPHENATED: Final = (
    "Platz|Ring|Weg|Straße|Strasse|Str|Allee|Gasse|Damm|Ufer|Steig|Hof|Graben|Berg|Park|straat|laan|weg|gatan"
)
UNIT: Final = (
    "apartment|apartments|apt|suite|ste|unit|flat|floor|fl|room|rm|bldg|building|appt|étage|piso|puerta|depto|dpto|stiege"
    "|lgh|lägenhet|box|p\\.?o\\.? box"
)
BOX: Final = (
    "p\\.? ?o\\.? ?box|post office box|postfach|casilla|apartado(?: de correos)?|boîte postale|caixa postal|postboks"
    "|postbox|postbus"
)
ANNOUNCED: Final = (
    r"(?:\baddress(?:\s+is|\s+at|\s+to)?|\baddress\? it is|\blocated (?:at|on|in)"
    r"|\b(?:lives?|lived|living|reside[sd]?|residing|stay(?:s|ed|ing)?) (?:at|on|in)"
    r"|\b(?:flat|apartment|studio) is"
    r"|\b(?:return|ship|deliver|send|mail|moved|go|come|drive|sent|post)(?:ed)?(?: \w+){0,4}? to|\bmeet(?: \w+){0,2} (?:at|on)"
    r"|\b(?:offices?|shop|store|house|home|restaurant|clinic|headquarters|hq|branch) (?:is|are)(?: located)? (?:at|on)"
    r"|\bdrops (?:you|us|me) off at|\bside of|\bresidence|\bdomicil\w{0,4}|\badresse|\bdirección|\bindirizzo|\bendereço"
    r"|\badres|\bwohnhaft in|\bhabite au|\bvive en)"
)
