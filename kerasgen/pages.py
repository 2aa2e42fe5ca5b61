"""HTML pages of one file: pictures and curves inside, nothing asked of any server, every text escaped."""

import base64
import hashlib
import html
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

MOST_BYTES = 60_000  # of one picture
_WIDEST = 960  # pixels of one
_QUALITIES = (85, 70, 50, 30)

_STYLE = """
:root { color-scheme: light dark; --ink: #1d1d1f; --paper: #fff; --soft: #6b6b70; --line: #d8d8dc; }
@media (prefers-color-scheme: dark) { :root { --ink: #eee; --paper: #17171a; --soft: #a2a2a8; --line: #3a3a40; } }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); margin: 0 auto;
  padding: 1rem; max-width: 70rem; }
h1 { font-size: 1.4rem; margin: 0.5rem 0; } h2 { font-size: 1.1rem; margin: 2rem 0 0.5rem; }
p.soft, figcaption, td.soft { color: var(--soft); }
.verdict { border-left: 0.5rem solid var(--soft); padding: 0.5rem 1rem; background: #8881; }
.verdict strong { font-size: 1.15rem; } .verdict ul { margin: 0.5rem 0; padding-left: 1.2rem; }
.healthy { border-color: #2e8b57; } .sick { border-color: #c0392b; } .doubtful { border-color: #d8930a; }
.curves, .runs { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 20rem), 1fr)); gap: 1rem; }
figure { margin: 0; min-width: 0; } figcaption { font-size: 0.9rem; } svg { width: 100%; height: auto; }
svg text { font: 11px system-ui, sans-serif; fill: var(--soft); } svg .axis { stroke: var(--line); }
svg polyline { fill: none; stroke: currentColor; stroke-width: 2; } svg circle { fill: currentColor; }
.a { color: #3273dc; } .b { color: #d9631e; } .c { color: #2e8b57; } .d { color: #a050b8; } .e { color: #8a8a20; }
.f { color: #c0392b; }
img { max-width: 100%; height: auto; image-rendering: pixelated; } input[type=range] { width: 100%; }
table { border-collapse: collapse; } .wide { overflow-x: auto; }
td, th { text-align: left; vertical-align: top; padding: 0.15rem 1rem 0.15rem 0; }
td, th { border-bottom: 1px solid var(--line); overflow-wrap: anywhere; } td.soft { white-space: nowrap; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; background: #8881; padding: 0.75rem; }
"""
_SCRIPT = """
for (const range of document.querySelectorAll('input[type=range]')) {
  const pictures = range.closest('section').querySelectorAll('figure');
  range.disabled = pictures.length < 2;
  range.addEventListener('input', () => pictures.forEach((one, i) => { one.hidden = i !== Number(range.value); }));
}
"""


@dataclass(frozen=True)
class Line:
    """One line of a plot.

    Attributes:
        label: for the legend.
        points: (epoch, value), epochs counted from 1.
        color: its place among the plots' colors.
    """

    label: str
    points: Sequence[tuple[int, float]]
    color: int = 0


def page(title: str, *parts: str) -> str:
    """Return a page of parts that are HTML already.

    Its policy allows pictures within the file, its one style and its one script, and no request.
    """
    allowed = {"style-src": _digest(_STYLE), "script-src": _digest(_SCRIPT)}
    policy = "; ".join(f"{kind} 'sha256-{digest}'" for kind, digest in allowed.items())
    policy = f"default-src 'none'; img-src data:; {policy}; base-uri 'none'; form-action 'none'"
    head = [
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<link rel="icon" href="data:,">',
        f"<title>{text(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>",
    ]
    return "\n".join([*head, *parts, f"<script>{_SCRIPT}</script>\n</body>\n</html>\n"])


def _digest(content: str) -> str:
    return base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()


def text(value: object) -> str:
    """Return a value as text that HTML takes for nothing else; half a character in a file's name is escaped too."""
    return html.escape(str(value).encode("utf-8", "backslashreplace").decode())


def table(rows: Mapping[str, object]) -> str:
    """Return a table of names and values."""
    cells = [f'<tr><td class="soft">{text(name)}</td><td>{text(value)}</td></tr>' for name, value in rows.items()]
    return f'<div class="wide"><table>{"".join(cells)}</table></div>'


def grid_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table with a head; its cells are HTML already."""
    lines = ["".join(f"<th>{text(name)}</th>" for name in head)]
    lines += ["".join(f"<td>{cell}</td>" for cell in row) for row in rows]
    return f'<div class="wide"><table>{"".join(f"<tr>{line}</tr>" for line in lines)}</table></div>'


def verdict_box(state: str, summary: str, reasons: Iterable[str]) -> str:
    """Return what is to be said of a training, colored by its state."""
    items = "".join(f"<li>{text(reason)}</li>" for reason in reasons)
    listed = f"<ul>{items}</ul>" if items else ""
    return f'<div class="verdict {text(state)}"><strong>{text(summary)}</strong>{listed}</div>'


# -- pictures -----------------------------------------------------------------------------------------------


def picture(pixels: np.ndarray, most_bytes: int = MOST_BYTES) -> str:
    """Return a picture as a data URI: PNG if it is small, else JPEG, smaller until it fits.

    Args:
        pixels: uint8 [height, width, 3].
        most_bytes: of the picture, before base64 makes it a third longer.
    """
    from PIL import Image

    image = Image.fromarray(pixels)
    image.thumbnail((_WIDEST, 4 * _WIDEST))
    content = _encoded(image, "PNG", optimize=True)
    while len(content) > most_bytes:
        for quality in _QUALITIES:
            content = _encoded(image, "JPEG", quality=quality)
            if len(content) <= most_bytes:
                break
        else:
            image.thumbnail((max(1, image.width // 2), max(1, image.height // 2)))
    kind = "png" if content.startswith(b"\x89PNG") else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def _encoded(image: object, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)  # type: ignore[attr-defined]  # Pillow's types are left out
    return buffer.getvalue()


def figure(uri: str, caption: str, hidden: bool = False) -> str:
    """Return a picture with its caption."""
    shown = " hidden" if hidden else ""
    return f'<figure{shown}><img src="{uri}" alt="{text(caption)}"><figcaption>{text(caption)}</figcaption></figure>'


def slider(pictures: Mapping[str, str]) -> str:
    """Return pictures of which a slider shows one; without scripts it is the last.

    Args:
        pictures: data URIs by caption, in order.
    """
    last = len(pictures) - 1
    figures = [figure(uri, caption, hidden=i < last) for i, (caption, uri) in enumerate(pictures.items())]
    knob = f'<input type="range" min="0" max="{last}" value="{last}" step="1" aria-label="Epoch">'
    return f"<section>{knob}{''.join(figures)}</section>"


# -- curves -------------------------------------------------------------------------------------------------

_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP, _RIGHT = 320, 200, 52, 24, 10, 10


def curves(title: str, lines: Sequence[Line]) -> str:
    """Return a plot of values over epochs as SVG, with the epochs' own numbers below; NaN leaves a gap.

    Args:
        title: of the plot.
        lines: one or more.
    """
    finite = [[(x, y) for x, y in line.points if math.isfinite(y)] for line in lines]
    xs, ys = ([point[i] for points in finite for point in points] for i in (0, 1))
    legend = " ".join(f'<span class="{_color(line)}">■</span> {text(line.label)}' for line in lines)
    caption = f"<figcaption><b>{text(title)}</b> {legend}</figcaption>"
    if not xs:
        return f"<figure>{caption}<p>It holds no finite number.</p></figure>"
    x_range, y_range = _widened(min(xs), max(xs)), _widened(min(ys), max(ys))
    parts = _axes(x_range, y_range, whole_xs=(int(min(xs)), int(max(xs))))
    for line in lines:
        for piece in _pieces(line.points):
            places = [(_place_x(x, x_range), _place_y(y, y_range)) for x, y in piece]
            if len(places) > 1:
                points = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
                parts.append(f'<polyline class="{_color(line)}" points="{points}"/>')
            else:
                [(x, y)] = places
                parts.append(f'<circle class="{_color(line)}" cx="{x:.1f}" cy="{y:.1f}" r="3"/>')
    label = f"{title} from epoch {min(xs)} to {max(xs)}"
    svg = f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{text(label)}">{"".join(parts)}</svg>'
    return f"<figure>{caption}{svg}</figure>"


def _color(line: Line) -> str:
    return "abcdef"[line.color % 6]


def _pieces(points: Sequence[tuple[int, float]]) -> list[list[tuple[int, float]]]:
    """Return the runs of points between those that are not finite."""
    pieces: list[list[tuple[int, float]]] = [[]]
    for x, y in points:
        if math.isfinite(y):
            pieces[-1].append((x, y))
        elif pieces[-1]:
            pieces.append([])
    return [piece for piece in pieces if piece]


def _widened(low: float, high: float) -> tuple[float, float]:
    return (low, high) if high > low else (low - max(0.5, abs(low) / 10), high + max(0.5, abs(high) / 10))


def _place_x(x: float, x_range: tuple[float, float]) -> float:
    return _LEFT + (_WIDTH - _LEFT - _RIGHT) * (x - x_range[0]) / (x_range[1] - x_range[0])


def _place_y(y: float, y_range: tuple[float, float]) -> float:
    return _HEIGHT - _BOTTOM - (_HEIGHT - _BOTTOM - _TOP) * (y - y_range[0]) / (y_range[1] - y_range[0])


def _axes(x_range: tuple[float, float], y_range: tuple[float, float], whole_xs: tuple[int, int]) -> list[str]:
    parts = []
    first, last = whole_xs
    step = max(1, math.ceil(_round_step(max(1, last - first) / 5)))
    for x in sorted({first, *range(-(-first // step) * step, last + 1, step)} - {0}):
        place = _place_x(x, x_range)
        parts.append(f'<text x="{place:.1f}" y="{_HEIGHT - 8}" text-anchor="middle">{x}</text>')
    spacing = _round_step((y_range[1] - y_range[0]) / 4)
    for i in range(math.ceil(y_range[0] / spacing), math.floor(y_range[1] / spacing) + 1):
        place = _place_y(i * spacing, y_range)
        parts.append(f'<line class="axis" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{place:.1f}" y2="{place:.1f}"/>')
        parts.append(f'<text x="{_LEFT - 5}" y="{place + 4:.1f}" text-anchor="end">{i * spacing:.4g}</text>')
    return [*parts, f'<text x="4" y="{_HEIGHT - 8}">epoch</text>']


def _round_step(least: float) -> float:
    """Return the smallest of 1, 2, 5, 10, 20 … (and their tenths) that is no less."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= least * (1 - 1e-9))
