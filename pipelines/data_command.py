"""`workbench data list|fetch|verify`: what data sets there are, get one, check one."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from pipelines.console import print_json, results_only
from workbench.data import manifests
from workbench.errors import InputError


def run(verb: str, names: Sequence[str], as_json: bool) -> None:
    """Without names, `list` and `verify` take all data sets; `fetch` wants to be told which.

    Raises InputError for an unknown name, a failed download and a file of another checksum.
    """
    if verb == "fetch" and not names:
        raise InputError("data fetch needs the name of a data set: see workbench data list")
    chosen = [manifests.manifest(name) for name in names] or manifests.all_manifests()
    with results_only(as_json):
        records = [_record(verb, chosen_manifest) for chosen_manifest in chosen]
    if as_json:
        print_json({"data": records})
        return
    for record in records:
        size = sum(file["size"] for file in record["files"])
        print(f"{record['name']}  ({size / 1e6:.2f} MB, {record['licence']})")
        print(f"  {record['description']}")
        for file in record["files"]:
            print(f"  {file['status']:9s} {file['where']}")


def _record(verb: str, manifest: manifests.Manifest) -> dict[str, Any]:
    if verb == "fetch":
        print(f"fetching {manifest.name} ...", file=sys.stderr)
        manifests.fetch(manifest.name)
    files = []
    for file in manifest.files:
        path = manifests.find(file)
        status = "absent" if path is None else "verified"
        where = file.url if path is None else str(path)
        files.append({"path": file.path, "size": file.size, "status": status, "where": where})
    return {
        "name": manifest.name,
        "description": manifest.description,
        "licence": manifest.licence,
        "citation": manifest.citation,
        "files": files,
    }
