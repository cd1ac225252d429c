"""Words that say little about which club is meant, and words that mean the same."""

from collections.abc import Iterable

from tidemill.football.teams.fold import fold


def _folded(words: Iterable[str] | str) -> frozenset[str]:
    return frozenset(fold(word) for word in (words.split() if isinstance(words, str) else words))


SYNONYMS: dict[str, str] = {
    fold(word): fold(line.split()[0])
    for line in """
    atletico atl. atl atletica athletico atletic
    athletic ath. ath
    deportivo dep. dep deportiva deportes depor desportivo desportiva desportos
    united utd. utd
    wednesday wed. wed
    university univ. univ universidad universitatea universidade universite universitario universitaria universitatea
    saint st. st sankt sint sainte ste. ste szent
    independiente indep. independ. indep
    dinamo dynamo dynama
    lokomotiv lok. loko lokomotive
    sporting sp.
    gimnasia gimn. gim.
    rovers rov.
    internacional internac.
    national nat.
    bukarest bucuresti bucharest
    belgrad beograd belgrade
    zagrab zagreb
    szofia sofia sofija
    krakko krakow cracow
    varso warszawa warsaw varsava
    kijev kiev kyiv
    moszkva moscow moskva
    praha praga prague
    kobenhavn copenhagen kobnhavn koppenhaga
    wien becs
    munchen munich
    koln cologne kolni
    athen athens athina
    isztambul istanbul
    bruges brugge brugges
    antwerpen antwerp anvers
    liege luik
    gent ghent
    mechelen malines
    lisszabon lisboa lisbon
    goteborg gothenburg
    sevilla seville
    napoly napoli
    milano mailand
    genova genua
    nikozia nicosia lefkosia
    asztana astana
    minszk minsk
    breszt brest-litovsk
    harkiv kharkiv harkov kharkov
    doneck donetsk
    odessza odessa odesa
    lviv lvov
    pozsony bratislava
    pristina prishtina
    szarajevo sarajevo
    szkopje skopje
    bazel basel
    geneve geneva genf
    zurich zurichi
    """.strip().splitlines()
    for word in line.split()
}
"""Abbreviations and other-language forms, each to the first word of its line."""

CLUB = _folded(
    "fc cf fk kf afc ffc club clube klub clubul football futbol futebol fussball fotball fotboll calcio fotbal "
    "asociacion associacao association associazione esporte esportivo"
)
"""Say only that it is a club: never part of what tells two clubs apart."""

CLUB_FORMS = _folded(
    "sc ac ca cd cs as us sd ud ad ce ue cp ec se sv tsv vfb vfl vfr ssv fsv tsg bsc spvgg if ff bk sk nk hnk mfk ks "
    "ssc usd acs asd csd cdt adc gnk hsk fbk il ik fcv ogc rc rcd ua cda csm afs ssd sad bc gfc acd asc"
)
"""May be left out of a name, but two clubs of one town may differ in nothing else (`UD` and `SD Logroñés`)."""

STATES = _folded("ac al am ap ba ce df es go ma mg ms mt pa pb pe pi pr rj rn ro rr rs sc se sp to")
"""Marks of Brazilian states: left out in tables, and all that tells Botafogo RJ from Botafogo SP."""

CONNECTING = _folded("de del da do das dos di du des of the y e és and und et og och i d al el")
"""Articles and prepositions that come and go before a word (`Estudiantes de Buenos Aires`, `Al-Ahly`)."""

ADDED = _folded("city town county")
"""Endings that a short form leaves out (`Detroit City`), where no second club shares the rest. Not `United`: Dundee."""

GENERIC = (
    ADDED
    | CONNECTING
    | _folded(
        "united sporting sport real racing atletico athletic deportivo union national nacional "
        "independiente university academia academy rangers rovers wanderers olympic olimpia olympique olympia dinamo "
        "spartak lokomotiv torpedo cska cszka stade san santa saint new north south east west central juniors stars "
        "star old young boys 1 sportivo sportif jong red white blue"
    )
)
"""Words of so many clubs that they identify none."""

WOMEN = _folded(
    "női women womens ladies feminino femenino femenina feminine feminines frauen kvinner wfc femminile feminil"
)
RESERVE = _folded("b ii 2 amatőr amateure amateur amateurs reserves reserve tartalék res. 2. ii.")
THIRD = _folded("c iii 3 3. iii.")
JONG = "jong"

REGNAL = _folded("juan pablo paulo paul willem wilhelm pio pedro carlos felipe leopold alfonso joao jean pius john")
"""Names behind which a numeral belongs to the name (`ADC Juan Pablo II`, `Willem II`)."""
