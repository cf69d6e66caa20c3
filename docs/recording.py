"""Draws what terminals showed as one animated SVG. It needs no script and no font of its own, so that it plays where an image is allowed.

Each terminal is a strip of its frames, one above the other, and a window over it; CSS moves the strip a frame at a time. A line that looks the same in
many frames is stored once. The last frame stands still with `prefers-reduced-motion`, and where nothing is animated.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

from rich.color import Color
from rich.console import Console
from rich.style import Style
from rich.terminal_theme import TerminalTheme
from rich.text import Text

CELL_WIDTH, CELL_HEIGHT = 8.4, 19
FONT_SIZE: Final = 14
BAR_HEIGHT, PADDING, GAP = 30, 14, 14
LONGEST_STILL: Final = 0.8  # seconds; when nothing moves for longer, the time is cut to this
END_SECONDS: Final = 4.0
BACKGROUND, BAR, FRAME, DIM = "#0d1117", "#161b22", "#30363d", "#8b949e"

THEME: Final = TerminalTheme(
    (13, 17, 23),
    (201, 209, 217),
    [(72, 79, 88), (255, 123, 114), (63, 185, 80), (210, 153, 34), (88, 166, 255), (188, 140, 255), (57, 197, 207), (177, 186, 196)],
    [(110, 118, 129), (255, 161, 152), (86, 211, 100), (227, 179, 65), (121, 192, 255), (210, 168, 255), (86, 212, 221), (240, 246, 252)],
)


@dataclass
class Frame:
    """The lines of a screen, with ANSI colours, from `at` seconds on. They stay for `hold` seconds at least."""

    at: float
    lines: list[str]
    hold: float = 0.0


@dataclass(frozen=True)
class Screen:
    title: str
    rows: int
    frames: list[Frame]


class Lines:
    """The lines of all frames, each kept once, in the order in which they first came."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._console = Console(width=500, color_system="truecolor", force_terminal=True)

    def number(self, line: str) -> int | None:
        """None for an empty line."""
        markup = "".join(self._spans(line))
        return self._numbers.setdefault(markup, len(self._numbers)) if markup else None

    def definitions(self) -> str:
        return "".join(f'<text id="l{number}">{markup}</text>' for markup, number in self._numbers.items())

    def _spans(self, line: str) -> Iterator[str]:
        column = 0
        for segment in Text.from_ansi(line).render(self._console):
            text = segment.text.rstrip("\n")
            if text.strip():
                style = segment.style or Style()
                left = len(text) - len(text.lstrip())
                shown = text.strip()
                place = f'x="{round((column + left) * CELL_WIDTH, 1)}" textLength="{round(len(shown) * CELL_WIDTH, 1)}"'
                yield f"<tspan {place}{look(style)}>{escape(shown)}</tspan>"
            column += len(text)


def look(style: Style) -> str:
    """The attributes of a style."""
    colour = style.color or Color.default()
    words = f' fill="{colour.get_truecolor(THEME).hex}"' if not colour.is_default else ""
    return words + (' font-weight="bold"' if style.bold else "") + (' opacity=".6"' if style.dim else "")


def draw(screens: Sequence[Screen], columns: int) -> str:
    """The whole SVG. All screens share one clock."""
    clock = timeline(sorted((frame for screen in screens for frame in screen.frames), key=lambda frame: frame.at))
    length = max(clock.values()) + END_SECONDS
    lines = Lines()
    width = round(columns * CELL_WIDTH + 2 * PADDING)
    parts: list[str] = []
    style = [
        f"text{{white-space:pre;font:{FONT_SIZE}px ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace;fill:{THEME.foreground_color.hex}}}"
    ]
    top = 0
    for number, screen in enumerate(screens):
        height = screen.rows * CELL_HEIGHT
        parts.append(window(screen, number, top, width, lines))
        style.append(animation(screen, number, clock, length, height))
        top += BAR_HEIGHT + height + 2 * PADDING + GAP
    whole = top - GAP
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{whole}" viewBox="0 0 {width} {whole}" xml:space="preserve" role="img">'
        f"<title>waggle up in one terminal, tasks submitted from another</title>"
        f"<style>{''.join(style)}</style><defs>{lines.definitions()}</defs>{''.join(parts)}</svg>\n"
    )


def timeline(frames: Sequence[Frame]) -> dict[float, float]:
    """When each moment of the recording is shown: pauses are cut to LONGEST_STILL, or stretched to a frame's `hold`."""
    shown, before, clock = 0.0, frames[0], {}
    for frame in frames:
        shown += max(min(frame.at - before.at, LONGEST_STILL), before.hold)
        clock[frame.at] = shown
        before = frame
    return clock


def window(screen: Screen, number: int, top: int, width: int, lines: Lines) -> str:
    height = screen.rows * CELL_HEIGHT
    outside = BAR_HEIGHT + height + 2 * PADDING
    strip = []
    for place, frame in enumerate(screen.frames):
        for row, line in enumerate(frame.lines):
            if (found := lines.number(line)) is not None:
                strip.append(f'<use href="#l{found}" y="{place * height + row * CELL_HEIGHT + FONT_SIZE}"/>')
    dots = "".join(f'<circle cx="{18 + 18 * at}" cy="{BAR_HEIGHT / 2}" r="5" fill="{colour}"/>' for at, colour in enumerate(("#ff5f57", "#febc2e", "#28c840")))
    return (
        f'<g transform="translate(0 {top})">'
        f'<rect x=".5" y=".5" width="{width - 1}" height="{outside - 1}" rx="8" fill="{BACKGROUND}" stroke="{FRAME}"/>'
        f'<path d="M1 {BAR_HEIGHT}h{width - 2}" stroke="{FRAME}"/>{dots}'
        f'<text x="{width / 2}" y="20" text-anchor="middle" style="fill:{DIM};font-size:12px">{escape(screen.title)}</text>'
        f'<svg x="{PADDING}" y="{BAR_HEIGHT + PADDING}" width="{width - 2 * PADDING}" height="{height}"><g class="s{number}">{"".join(strip)}</g></svg></g>'
    )


def animation(screen: Screen, number: int, clock: dict[float, float], length: float, height: int) -> str:
    last = (len(screen.frames) - 1) * height
    moves = "".join(
        f"{clock[frame.at] / length * 100:.3f}%{{transform:translateY(-{place * height}px)}}"
        for place, frame in enumerate(screen.frames)
        if place or not frame.at
    )
    return (
        f"@keyframes k{number}{{0%{{transform:translateY(0)}}{moves}100%{{transform:translateY(-{last}px)}}}}"
        f".s{number}{{transform:translateY(-{last}px);animation:k{number} {length:.1f}s step-end infinite}}"
        f"@media (prefers-reduced-motion:reduce){{.s{number}{{animation:none}}}}"
    )
