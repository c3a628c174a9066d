"""The result as tables and as plots: Markdown, and SVG written plainly."""

from xml.sax.saxutils import escape

COLOURS = {"nsd": "#8c8c8c", "knot": "#c4a35a", "bind": "#b56b6b", "pdns": "#7d6bb5", "signet": "#1f6f8b",
           "signet-online": "#63b4c8", "echo": "#d9d9d9", "echo-poll": "#d9d9d9"}
OTHERS = ("#4c956c", "#d08c60", "#6a4c93", "#2f4858", "#a23b72", "#88ab75")
WIDTH, LEFT, RIGHT, BAR, GAP, TOP = 760, 150, 120, 15, 14, 64


def figure(value):
    return "-" if value is None else f"{value:.0f}"


def ratio(value, digits=2):
    return "-" if value is None else f"{value:.{digits}f}"


def markdown(head, lines):
    rows = [head, ["---"] * len(head), *lines]
    return "\n".join("| " + " | ".join(str(cell) for cell in row) + " |" for row in rows)


def verdict(what, value, limit, at_least=False):
    """One target: met, missed, or None where it could not be measured."""
    met = None if value is None else value >= limit if at_least else value <= limit
    return {"what": what, "value": value, "limit": limit, "at_least": at_least, "met": met}


def verdicts(targets):
    words = {True: "yes", False: "no", None: "not measured"}
    lines = [[t["what"], ratio(t["value"], 3), ("at least " if t["at_least"] else "at most ") + ratio(t["limit"], 3),
              words[t["met"]]] for t in targets]
    return "## Targets\n\n" + markdown(["what", "measured", "target", "met"], lines)


def colour(name, index):
    return COLOURS.get(name, OTHERS[index % len(OTHERS)])


def bar(x, y, width, fill, label, text):
    return (f'<rect x="{x}" y="{y}" width="{width:.1f}" height="{BAR - 2}" fill="{fill}"/>'
            f'<text x="{x - 6}" y="{y + BAR - 4}" text-anchor="end" class="s">{escape(label)}</text>'
            f'<text x="{x + width + 5:.1f}" y="{y + BAR - 4}" class="s">{escape(text)}</text>')


def bars(title, unit, groups, base=None):
    """Horizontal bars. groups: (name, {series: value}); None leaves a bar out. base: the series that each value is also
    given as a ratio of."""
    values = [v for _, series in groups for v in series.values() if v is not None]
    top = max([v for v in values if v > 0], default=1)
    names = list(dict.fromkeys(name for _, series in groups for name in series))
    body = []
    y = TOP
    for group, series in groups:
        body.append(f'<text x="12" y="{y + BAR - 3}" class="g">{escape(str(group))}</text>')
        y += BAR + 2
        for name, value in series.items():
            if value is None:
                continue
            width = max(value, 0) / top * (WIDTH - LEFT - RIGHT)
            text = f"{value:.0f}" if abs(value) >= 10 else f"{value:.2f}"
            if base in series and series[base] and name != base and series[base] > 0:
                text += f"  ({value / series[base]:.2f})"
            body.append(bar(LEFT, y, width, colour(name, names.index(name)), name, text))
            y += BAR
        y += GAP
    note = f"{unit}; in brackets the ratio to {base}" if base else unit
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y}" viewBox="0 0 {WIDTH} {y}" '
            'font-family="sans-serif">'
            '<style>.t{font-size:16px;font-weight:bold}.g{font-size:12px;font-weight:bold}.s{font-size:11px}</style>'
            f'<rect width="{WIDTH}" height="{y}" fill="#ffffff"/>'
            f'<text x="12" y="24" class="t">{escape(title)}</text><text x="12" y="44" class="s">{escape(note)}</text>'
            + "\n".join(body) + "</svg>\n")
