"""Makes the photo tagger's files again; see the README beside this file.

python -m research.photo_tagger export
python -m research.photo_tagger features --packages FOLDER/wall
python -m research.photo_tagger table --classes TIMM_INFO_FOLDER --wordnet /usr/share/wordnet/data.noun
python -m research.photo_tagger evaluate --subjects FOLDER --packages FOLDER
python -m research.photo_tagger crops --subjects FOLDER --packages FOLDER
python -m research.photo_tagger faults --subjects FOLDER --packages FOLDER
python -m research.photo_tagger written --subjects FOLDER --packages FOLDER
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from research.photo_tagger import table
from services.tagger.adapters.photo_onnx import WEIGHTS

TEMPERATURE = 0.7
"""Has the least negative log likelihood on the development set (docs/tagging.md)."""


def main() -> None:
    """Runs one step."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    steps = parser.add_subparsers(dest="step", required=True)
    steps.add_parser("export")
    steps.add_parser("features").add_argument("--packages", type=Path, required=True)
    made = steps.add_parser("table")
    made.add_argument("--classes", type=Path, required=True)
    made.add_argument("--wordnet", type=Path, required=True)
    for name in ("evaluate", "crops", "faults", "written"):
        measured = steps.add_parser(name)
        measured.add_argument("--subjects", type=Path, required=True)
        measured.add_argument("--packages", type=Path, required=True)
    given = parser.parse_args()
    if given.step == "export":
        from research.photo_tagger.export import export

        WEIGHTS.mkdir(parents=True, exist_ok=True)
        print(json.dumps(export(WEIGHTS / "model.onnx")))
    elif given.step == "features":
        from research.photo_tagger.features import add_features

        print(f"{add_features(WEIGHTS / 'model.onnx', given.packages):.3f} of the variance")
    elif given.step == "table":
        built = table.build(table.read_classes(given.classes), table.WordNet(given.wordnet))
        table.write({"temperature": TEMPERATURE, **built}, WEIGHTS / "table.json")
    else:
        if given.step == "crops":
            from research.photo_tagger.crops import report
        elif given.step == "faults":
            from research.photo_tagger.faults import report
        elif given.step == "written":
            from research.photo_tagger.written import report
        else:
            from research.photo_tagger.evaluate import report

        print(report(given.subjects, given.packages))


if __name__ == "__main__":
    main()
