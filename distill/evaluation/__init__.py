"""Answers against a truth: how well they agree with it, for whom, beside whose, and under which conditions.

The truth and written answers (`truth`) -> a model asked about its clips (`answering`) -> agreement, slices, robustness
(`evaluating`, `snr`, `robustness`).
"""

from distill.evaluation.evaluating import evaluate

__all__ = ["evaluate"]
