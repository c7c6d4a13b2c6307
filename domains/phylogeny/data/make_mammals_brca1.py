"""Rebuild `mammals-brca1.fasta`: 16 mammals, 600 sites of the BRCA1 gene.

    python -m pip download --no-deps cogent3==2026.10.22
    python -m domains.phylogeny.data.make_mammals_brca1 cogent3-2026.10.22-py3-none-any.whl

The source is the alignment of 55 mammals that comes with cogent3 (BSD-3-Clause). Taken are its first
600 sites, one or two species of each large group of placental mammals, and a wombat as outgroup; cut
or joined names are written out. The order in which the groups branched is uncertain from so few
sites, which is what makes it an example.
"""

from __future__ import annotations

import argparse
import hashlib
import zipfile
from pathlib import Path

PATH = Path(__file__).parent / "mammals-brca1.fasta"
MEMBER = "cogent3/_dataset/brca1.fasta"
SHA256 = "e222b606d2372ff6e470949f30847c3d42090e86b4db48bfd3d16fc6651d4bef"
N_SITES = 600
WIDTH = 60
TAXA = {
    "Human": "Human",
    "Chimpanzee": "Chimpanzee",
    "Rhesus": "Rhesus_macaque",
    "Galago": "Galago",
    "TreeShrew": "Tree_shrew",
    "Mouse": "Mouse",
    "Rat": "Rat",
    "Dog": "Dog",
    "Cat": "Cat",
    "Horse": "Horse",
    "Cow": "Cow",
    "HumpbackW": "Humpback_whale",
    "AfricanEl": "African_elephant",
    "Manatee": "Manatee",
    "Anteater": "Anteater",
    "Wombat": "Wombat",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("wheel", type=Path, help="the wheel of cogent3 2026.10.22")
    with zipfile.ZipFile(parser.parse_args().wheel) as wheel:
        raw = wheel.read(MEMBER)
    if hashlib.sha256(raw).hexdigest() != SHA256:
        raise SystemExit(f"{MEMBER} is not the file that was used: take cogent3 2026.10.22")
    sequences = {}
    for entry in raw.decode().split(">")[1:]:
        name, _, rest = entry.partition("\n")
        sequences[name.strip()] = "".join(rest.split())[:N_SITES]
    lines = []
    for short, full in TAXA.items():
        row = sequences[short]
        lines += [f">{full}", *(row[i : i + WIDTH] for i in range(0, N_SITES, WIDTH))]
    PATH.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
