"""Reports that a careful engineer would sign, as Markdown.

blocks.py        what a report is made of
comparison.py    old versus new; deltas.py and conditions.py are parts of it
course.py        what a run's events say, epoch by epoch
trends.py        the trend of one curve
conclusions.py   sentences that follow from a curve, each with its numbers
outlook.py       sentences about a run's end, its evaluation and its comparisons
run.py           one training; described.py (its config in its trainer's words), settings.py,
                 progress.py, pair.py (two of its checkpoints), results.py and machine.py are parts
study.py         one search
curves.py        pictures (imports matplotlib, so it is imported only where they are drawn)
page.py          any of them as one HTML file
"""

from backend.analysis.report.comparison import markdown

__all__ = ["markdown"]
