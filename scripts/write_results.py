"""Puts a comparison's table and picture into README.md, between its two marks:

python benchmarks/comparison_into_readme.py data/demo/08_reporting/comparison
"""

import shutil
import sys
from pathlib import Path

PROJECT = Path(__file__).parents[1]
README, PICTURE = PROJECT / "README.md", Path("docs/pictures/comparison.png")
BEGIN, END = "<!-- results: written by make results -->\n", "<!-- end of results -->"

comparison = Path(sys.argv[1])
text = README.read_text(encoding="utf-8")
before, begin, rest = text.partition(BEGIN)
_, end, after = rest.partition(END)
if not (begin and end):
    sys.exit(f"{README}: the marks {BEGIN.strip()} and {END} must both stand in it, in this order")
if not before.count(f"({PICTURE})") + after.count(f"({PICTURE})"):
    sys.exit(f"{README}: it shows no picture {PICTURE}, which is written here")
table = (comparison / "table.md").read_text(encoding="utf-8")
README.write_text(f"{before}{begin}\n{table}\n{end}{after}", encoding="utf-8")
shutil.copy(comparison / "pictures" / "scores.png", PROJECT / PICTURE)
