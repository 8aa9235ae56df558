"""Studies beyond one model on one symbol (models.md section 5.6), each judged on rows that decided nothing.

``stacking``: several models as one. ``adversarial``: whether the past looks like the present. ``transfer``: learning
from other symbols. ``sizing``: how much to enter, and how. Drawing days and trades again, and stressing costs, is in
``evaluation.stress``; a walk's ``walk.json`` holds its result.
"""
