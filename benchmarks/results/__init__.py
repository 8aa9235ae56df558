"""What the forecasters come to on the recorded market, as a page: ``make results`` (docs/results.md).

Every case trains and selects on rows before ``CUT`` and is measured on rows after it, with the pipeline's own
functions. What a case came to is kept until its code, its data or its options change; an interrupted run goes on.
"""
