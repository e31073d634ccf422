"""Threshold rules, named as in the hybrid thresholding paper. Imports nothing."""

from __future__ import annotations

from typing import Literal, get_args

ThresholdRule = Literal["none", "soft", "sigmoid", "hard", "gauss"]
THRESHOLD_RULES: tuple[ThresholdRule, ...] = get_args(ThresholdRule)
