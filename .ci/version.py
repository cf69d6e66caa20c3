"""Give all distributions a new version: `just version 0.2.0`. What CHANGELOG.md holds under Unreleased becomes the section of that version."""

import re
import sys
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).parents[1]


def main(version: str) -> None:
    """Write the version into each pyproject.toml, for itself and for the others that it requires, and into the changelog."""
    if not re.fullmatch(r"\d+\.\d+\.\d+", version):
        sys.exit(f"{version!r} is not a version such as 0.2.0")
    for file in [path for folder in ("libs", "services") for path in (ROOT / folder).glob("*/pyproject.toml")]:
        text = re.sub(r'(?m)^version = "[^"]*"', f'version = "{version}"', file.read_text(), count=1)
        file.write_text(re.sub(r'"(waggle[\w-]*(?:\[\w+\])?)==[^"]*"', rf'"\1=={version}"', text))
    changelog = ROOT / "CHANGELOG.md"
    text = changelog.read_text()
    if f"## [{version}]" not in text:
        changelog.write_text(text.replace("## [Unreleased]\n", f"## [Unreleased]\n\n## [{version}] - {datetime.now(UTC):%Y-%m-%d}\n", 1))


if __name__ == "__main__":
    main(*sys.argv[1:])
