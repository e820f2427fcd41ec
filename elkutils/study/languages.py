"""The sentences about easy cities in German, French and Spanish.

City names stay as they are in English; a country stands with its preposition, because that
depends on the country.
"""

from elkutils.tasks import Split

TEMPLATES = {
    "German": "Die Stadt {} liegt {}.",
    "French": "La ville de {} se trouve {}.",
    "Spanish": "La ciudad de {} está {}.",
}

_COUNTRIES = """
Afghanistan|in Afghanistan|en Afghanistan|en Afganistán
Algeria|in Algerien|en Algérie|en Argelia
Argentina|in Argentinien|en Argentine|en Argentina
Australia|in Australien|en Australie|en Australia
Azerbaijan|in Aserbaidschan|en Azerbaïdjan|en Azerbaiyán
Bangladesh|in Bangladesch|au Bangladesh|en Bangladés
Belarus|in Belarus|en Biélorussie|en Bielorrusia
Brazil|in Brasilien|au Brésil|en Brasil
Burkina Faso|in Burkina Faso|au Burkina Faso|en Burkina Faso
Cambodia|in Kambodscha|au Cambodge|en Camboya
Canada|in Kanada|au Canada|en Canadá
China|in China|en Chine|en China
Colombia|in Kolumbien|en Colombie|en Colombia
Cuba|in Kuba|à Cuba|en Cuba
Ecuador|in Ecuador|en Équateur|en Ecuador
Egypt|in Ägypten|en Égypte|en Egipto
Ethiopia|in Äthiopien|en Éthiopie|en Etiopía
Germany|in Deutschland|en Allemagne|en Alemania
Ghana|in Ghana|au Ghana|en Ghana
Guinea|in Guinea|en Guinée|en Guinea
Hungary|in Ungarn|en Hongrie|en Hungría
India|in Indien|en Inde|en la India
Indonesia|in Indonesien|en Indonésie|en Indonesia
Iran|im Iran|en Iran|en Irán
Iraq|im Irak|en Irak|en Irak
Ivory Coast|in der Elfenbeinküste|en Côte d'Ivoire|en Costa de Marfil
Japan|in Japan|au Japon|en Japón
Kazakhstan|in Kasachstan|au Kazakhstan|en Kazajistán
Kenya|in Kenia|au Kenya|en Kenia
Lebanon|im Libanon|au Liban|en el Líbano
Mali|in Mali|au Mali|en Mali
Mexico|in Mexiko|au Mexique|en México
Morocco|in Marokko|au Maroc|en Marruecos
Myanmar|in Myanmar|en Birmanie|en Birmania
Nigeria|in Nigeria|au Nigeria|en Nigeria
North Korea|in Nordkorea|en Corée du Nord|en Corea del Norte
Pakistan|in Pakistan|au Pakistan|en Pakistán
Poland|in Polen|en Pologne|en Polonia
Romania|in Rumänien|en Roumanie|en Rumanía
Russia|in Russland|en Russie|en Rusia
Saudi Arabia|in Saudi-Arabien|en Arabie saoudite|en Arabia Saudita
Senegal|im Senegal|au Sénégal|en Senegal
Somalia|in Somalia|en Somalie|en Somalia
South Africa|in Südafrika|en Afrique du Sud|en Sudáfrica
South Korea|in Südkorea|en Corée du Sud|en Corea del Sur
Sudan|im Sudan|au Soudan|en Sudán
Syria|in Syrien|en Syrie|en Siria
Tanzania|in Tansania|en Tanzanie|en Tanzania
Thailand|in Thailand|en Thaïlande|en Tailandia
Togo|in Togo|au Togo|en Togo
Turkey|in der Türkei|en Turquie|en Turquía
Uganda|in Uganda|en Ouganda|en Uganda
Ukraine|in der Ukraine|en Ukraine|en Ucrania
Uzbekistan|in Usbekistan|en Ouzbékistan|en Uzbekistán
Venezuela|in Venezuela|au Venezuela|en Venezuela
Vietnam|in Vietnam|au Vietnam|en Vietnam
Yemen|im Jemen|au Yémen|en Yemen
Zambia|in Sambia|en Zambie|en Zambia
the Democratic Republic of the Congo|in der Demokratischen Republik Kongo|en République \
démocratique du Congo|en la República Democrática del Congo
the Philippines|auf den Philippinen|aux Philippines|en Filipinas
the Republic of the Congo|in der Republik Kongo|en République du Congo|en la República del Congo
the United Arab Emirates|in den Vereinigten Arabischen Emiraten|aux Émirats arabes unis|en los \
Emiratos Árabes Unidos
the United States|in den Vereinigten Staaten|aux États-Unis|en los Estados Unidos
"""
_TABLE = {
    country: dict(zip(TEMPLATES, phrases, strict=True))
    for country, *phrases in (line.split("|") for line in _COUNTRIES.strip().splitlines())
}


def translated(split: Split, language: str) -> list[str]:
    """Return the statements of a split of the cities, row by row, in another language.

    Parameters
    ----------
    split : Split
        The split ``easy`` of `elkutils.tasks.cities`, with at most 150 cities.
    language : str
        One of `TEMPLATES`.

    Raises
    ------
    ValueError
        For another language, or a country that the table lacks.

    Examples
    --------
    >>> from elkutils.tasks import cities
    >>> translated(cities(easy=20)["easy"], "German")[0]
    'Die Stadt Shanghai liegt in China.'
    """
    if language not in TEMPLATES:
        raise ValueError(f"language is {language!r}; it has to be one of {list(TEMPLATES)}")
    countries = [completion.strip().rstrip(".") for completion in split.completions]
    lacking = sorted(set(countries) - set(_TABLE))
    if lacking:
        raise ValueError(f"split has the countries {lacking}, which are not translated")
    return [
        TEMPLATES[language].format(city, _TABLE[country][language])
        for city, country in zip(split.groups, countries, strict=True)
    ]
