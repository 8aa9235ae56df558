"""Walk-forward of one forecaster: fitted on 30 days, chosen by the last of them, traded on the 7 days after, moved on.

Figures come from the test parts put together, never from the best window (models.md sections 5.4 and 7).
"""
