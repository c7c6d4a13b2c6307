"""Interactive views of structures: one HTML page that opens without a network.

The page holds the atoms and a short script that draws them as shaded discs on a canvas, far ones first;
dragging turns the crystal, the wheel zooms. No library is loaded.
"""

from __future__ import annotations

import html
import json
from collections.abc import Sequence

import numpy as np
from pymatgen.core import Structure

from workbench.runs.plotting import COLOURS

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<style>
body {{ font: 15px system-ui, sans-serif; margin: 1.5rem; color: #1d232b; }}
main {{ display: flex; flex-wrap: wrap; gap: 1rem; }}
figure {{ margin: 0; border: 1px solid #d5dae1; border-radius: 4px; padding: .4rem; }}
canvas {{ width: 260px; height: 260px; cursor: grab; touch-action: none; }}
figcaption {{ font-size: 13px; max-width: 260px; }}
</style></head><body>
<h1>{title}</h1><p>Drag to turn, scroll to zoom. {legend}</p><main>{figures}</main>
<script>
const crystals = {data};
document.querySelectorAll("canvas").forEach((canvas, index) => {{
  const crystal = crystals[index], context = canvas.getContext("2d");
  let across = 0.5, down = -0.35, zoom = 1;
  canvas.width = canvas.height = 520;
  function turned(p) {{
    const x = p[0] * Math.cos(across) - p[1] * Math.sin(across);
    const y = p[0] * Math.sin(across) + p[1] * Math.cos(across);
    return [x, p[2] * Math.cos(down) + y * Math.sin(down), y * Math.cos(down) - p[2] * Math.sin(down)];
  }}
  function draw() {{
    const scale = 210 / crystal.size * zoom;
    const at = p => [260 + p[0] * scale, 260 - p[1] * scale];
    context.clearRect(0, 0, 520, 520);
    context.strokeStyle = "#8a94a1"; context.lineWidth = 1.5;
    for (const [a, b] of crystal.edges) {{
      context.beginPath(); context.moveTo(...at(turned(a))); context.lineTo(...at(turned(b)));
      context.stroke();
    }}
    const atoms = crystal.atoms.map(a => [turned(a.p), a]).sort((a, b) => b[0][2] - a[0][2]);
    for (const [p, atom] of atoms) {{
      const [x, y] = at(p), r = atom.r * scale;
      const shade = context.createRadialGradient(x - r / 3, y - r / 3, r / 8, x, y, r);
      shade.addColorStop(0, "#ffffff"); shade.addColorStop(0.35, atom.c); shade.addColorStop(1, atom.c);
      context.fillStyle = shade; context.strokeStyle = "#3a424d"; context.lineWidth = 1;
      context.beginPath(); context.arc(x, y, r, 0, 2 * Math.PI); context.fill(); context.stroke();
    }}
  }}
  canvas.onpointerdown = event => canvas.setPointerCapture(event.pointerId);
  canvas.onpointermove = event => {{
    if (!event.buttons) return;
    across += event.movementX / 120; down += event.movementY / 120; draw();
  }};
  canvas.onwheel = event => {{
    event.preventDefault(); zoom *= Math.exp(-event.deltaY / 600); draw();
  }};
  draw();
}});
</script></body></html>
"""


def page(title: str, cells: Sequence[Structure], captions: Sequence[str]) -> str:
    """The page; atoms in and on the edge of two cells in each direction where they are small."""
    symbols = sorted({site.specie.symbol for cell in cells for site in cell})
    colour = {symbol: COLOURS[i % len(COLOURS)] for i, symbol in enumerate(symbols)}
    legend = " ".join(f'<span style="color:{colour[s]}">&#9679;</span>&nbsp;{s}' for s in symbols)
    figures = "".join(
        f"<figure><canvas></canvas><figcaption>{html.escape(text)}</figcaption></figure>"
        for text in captions
    )
    data = json.dumps([_crystal(cell, colour) for cell in cells], separators=(",", ":"))
    return _PAGE.format(title=html.escape(title), legend=legend, figures=figures, data=data)


def _crystal(cell: Structure, colour: dict[str, str]) -> dict[str, object]:
    lattice = cell.lattice.matrix
    centre = lattice.sum(0) / 2
    corners = np.array([[i, j, k] for i in (0, 1) for j in (0, 1) for k in (0, 1)])
    edges = [
        [_rounded(a @ lattice - centre), _rounded(b @ lattice - centre)]
        for a in corners
        for b in corners
        if np.abs(a - b).sum() == 1 and tuple(a) < tuple(b)
    ]
    atoms = []
    for site in cell:
        inside = np.mod(site.frac_coords, 1.0)
        inside = np.where(inside > 0.999, 0.0, inside)
        for shift in corners:
            if (inside + shift <= 1.001).all():
                radius = 0.35 * float(site.specie.atomic_radius or 1.0)
                point = _rounded((inside + shift) @ lattice - centre)
                atoms.append({"p": point, "r": radius, "c": colour[site.specie.symbol]})
    size = float(np.linalg.norm(corners @ lattice - centre, axis=1).max())
    return {"atoms": atoms, "edges": edges, "size": size}


def _rounded(point: np.ndarray) -> list[float]:
    return [round(float(x), 3) for x in point]
