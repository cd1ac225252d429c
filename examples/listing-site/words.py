"""What homes, people and firms are called. None of them is real."""

WORDS: dict[str, dict[str, tuple[str, ...]]] = {
    "fi": {"flat": ("Kerrostalo", "Luhtitalo"), "house": ("Omakotitalo",),
           "condition": ("Hyvä", "Tyydyttävä", "Uudenveroinen")},
    "de": {"flat": ("Etagenwohnung", "Dachgeschosswohnung", "Erdgeschosswohnung"),
           "house": ("Einfamilienhaus", "Doppelhaushälfte", "Reihenhaus"),
           "condition": ("gepflegt", "modernisiert", "renovierungsbedürftig")},
    "de-LI": {"flat": ("Wohnung", "Attikawohnung", "Maisonette"), "house": ("Einfamilienhaus", "Terrassenhaus"),
              "condition": ("neuwertig", "gepflegt", "renoviert")},
    "de-AT": {"flat": ("Wohnung", "Altbauwohnung", "Maisonette"), "house": ("Einfamilienhaus", "Reihenhaus"),
              "condition": ("sehr gut", "saniert", "sanierungsbedürftig")},
    "en": {"flat": ("Apartment", "Penthouse", "Studio"), "house": ("House", "Villa"),
           "condition": ("as new", "good", "needs work")},
}  # fmt: skip

FIRMS: dict[str, tuple[str, ...]] = {
    "FI": ("Kotikallio LKV", "Meriranta Kiinteistönvälitys Oy", "Asuntopiha LKV"),
    "DE": ("Rotmain Immobilien GmbH", "Fichtelgebirge Wohnen KG", "Lindner & Hof Immobilien"),
    "LI": ("Rheintal Immobilien AG", "Drei Schwestern Treuhand", "Alpenblick Wohnen Anstalt"),
    "AT": ("Donaublick Immobilien", "Wachau Realitäten GmbH", "Steinertor Wohnbau"),
}
PEOPLE: dict[str, tuple[str, ...]] = {
    "FI": ("Aino Lehtola", "Eero Sainio", "Päivi Yläranta"),
    "DE": ("Jürgen Höflein", "Sabine Groß", "Mareike Thüring"),
    "LI": ("Beat Ritterli", "Noëmi Wolfinger", "Urs Gassner-Öhri"),
    "AT": ("Franziska Pöltl", "Matthäus Kern", "Ulrike Süß"),
}

DESCRIPTIONS: dict[str, tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]] = {
    "fi": (
        ("Valoisa koti rauhallisella paikalla.", "Läpitalon huoneisto hyvien yhteyksien äärellä.",
         "Hyvin pidetty asunto arvostetussa talossa."),
        ("Keittiö on uusittu vuonna 2019.", "Olohuoneesta on käynti lasitetulle parvekkeelle.",
         "Taloyhtiössä on sauna ja pesutupa.", "Metroasemalle on 350 metriä.", "Putkiremontti on tehty."),
        ("Tervetuloa näyttöön!", "Vapautuu sopimuksen mukaan.", "Kysy lisää välittäjältä."),
    ),
    "de": (
        ("Gepflegtes Objekt in ruhiger Wohnlage.", "Helle Räume mit Blick ins Grüne.",
         "Gut geschnittener Grundriss nahe der Ortsmitte."),
        ("Die Heizung wurde 2018 erneuert.", "Zum Haus gehört ein Stellplatz.", "Der Keller misst etwa 12 m².",
         "Schule und Kindergarten sind zu Fuß erreichbar.", "Böden aus Eiche in allen Wohnräumen."),
        ("Besichtigung nach Vereinbarung.", "Die Maße sind nicht nachgeprüft.", "Bezugsfrei nach Absprache."),
    ),
    "de-LI": (
        ("Grosszügiges Zuhause an sonniger Hanglage.", "Zeitgemässer Ausbau mit Sicht auf das Schloss.",
         "Zentrumsnah und doch ruhig gelegen."),
        ("Die Küche ist mit Geräten von 2021 ausgestattet.", "Ein Platz in der Tiefgarage gehört dazu.",
         "Die Terrasse misst 24 m².", "Der Bus hält vor dem Haus.", "Boden aus Stein mit Heizung darunter."),
        ("Wir freuen uns auf Ihren Anruf.", "Bezug nach Vereinbarung.", "Haustiere sind nach Absprache erlaubt."),
    ),
    "de-AT": (
        ("Charmante Liegenschaft unweit der Altstadt.", "Freundliche Räume mit Donaublick.",
         "Ruhige Lage in den Weinbergen."),
        ("Der Lift wurde 2016 eingebaut.", "Ein Kellerabteil ist vorhanden.", "Das Bad hat ein Fenster.",
         "Zum Bahnhof sind es 10 Gehminuten.", "Fernwärme, Heizkosten etwa 90 Euro im Monat."),
        ("Provision laut Gesetz.", "Termin gerne auch am Wochenende.", "Irrtum vorbehalten."),
    ),
    "en": (
        ("Bright rooms on a quiet street.", "A well kept home close to the mountains.",
         "Modern living within walking distance of everything."),
        ("The kitchen was renewed in 2020.", "One parking space is included.", "The balcony faces south.",
         "The bus stops 200 metres away.", "There is a store room of 8 square metres."),
        ("Viewings by appointment.", "Available on request.", "Measurements are approximate."),
    ),
}  # fmt: skip
