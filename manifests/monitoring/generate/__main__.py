"""`python -m manifests.monitoring.generate` writes dashboards, alerts and docs/metrics.md."""

from __future__ import annotations

from pathlib import Path

import yaml
from manifests.monitoring.generate import alerts, catalogue, dashboards

ROOT = Path(__file__).parents[3]
PLAIN = Path("manifests/monitoring")
CHART = Path("charts/checkrein/monitoring")


def files() -> dict[Path, str]:
    """Every generated file, by its path below the repository's root. Helm reads only what lies in the chart."""
    rules = alerts.HEADER + yaml.safe_dump(alerts.rules(), sort_keys=False, width=10_000, allow_unicode=True)
    made = {Path("docs/metrics.md"): catalogue.page()}
    for folder in (PLAIN, CHART):
        made[folder / "alerts.yaml"] = rules
        made |= {folder / "dashboards" / name: text for name, text in dashboards.files().items()}
    return made


def main() -> None:
    """Write them, and remove dashboards that are made no more."""
    made = files()
    for folder in (PLAIN, CHART):
        for old in (ROOT / folder / "dashboards").glob("*.json"):
            if old.relative_to(ROOT) not in made:
                old.unlink()
    for path, text in made.items():
        (ROOT / path).parent.mkdir(parents=True, exist_ok=True)
        (ROOT / path).write_text(text)


if __name__ == "__main__":
    main()
