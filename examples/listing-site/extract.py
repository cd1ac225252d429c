"""Makes osm/addresses.csv and osm/buildings.parquet, which the site's homes stand on, from larger extracts of
OpenStreetMap: python examples/listing-site/extract.py FOLDER, with addresses.csv.gz and buildings.parquet in it.

Only whoever changes the extract needs it, and DuckDB. What it makes is under the ODbL, see osm/LICENCE.
"""

import sys
from pathlib import Path

import duckdb

CITIES = ("Helsinki", "Vaduz", "Schaan", "Bindlach", "Krems an der Donau")
OUT = Path(__file__).resolve().parent / "osm"

ADDRESSES = """
COPY (
    SELECT address_id, region, street, number, postcode, city, lon, lat, building_id, source, how, osm, postcode_source
    FROM read_csv('{folder}/addresses.csv.gz', all_varchar = true)
    WHERE city IN {cities} AND building_id IS NOT NULL AND postcode IS NOT NULL
      AND regexp_full_match(number, '[0-9]+ ?[A-Za-z]?')
    ORDER BY city, address_id
) TO '{out}/addresses.csv' (HEADER)
"""
BUILDINGS = """
COPY (
    SELECT building_id, region, municipality, osm_type, osm_id, building, "addr:street", "addr:housenumber",
           "addr:postcode", "addr:city", lon, lat, geometry
    FROM read_parquet('{folder}/buildings.parquet')
    WHERE region IN ('helsinki', 'bayreuth', 'krems') OR municipality IN {cities}
    ORDER BY building_id
) TO '{out}/buildings.parquet' (FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 19)
"""


def main(folder: Path) -> None:
    for statement in (ADDRESSES, BUILDINGS):
        duckdb.execute(statement.format(folder=folder, out=OUT, cities=CITIES))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
