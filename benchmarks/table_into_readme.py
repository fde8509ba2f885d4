"""Puts a generated table between the two marks of README.md: python benchmarks/table_into_readme.py TABLE.md"""

import sys
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"
BEGIN, END = "<!-- results: written by make results -->\n", "<!-- end of results -->"

text = README.read_text(encoding="utf-8")
before, begin, rest = text.partition(BEGIN)
_, end, after = rest.partition(END)
if not (begin and end):
    sys.exit(f"{README}: the marks {BEGIN.strip()} and {END} must both stand in it, in this order")
README.write_text(
    before + begin + "\n" + Path(sys.argv[1]).read_text(encoding="utf-8") + "\n" + end + after, encoding="utf-8"
)
