"""Conditions on the geometry of a network, such as `lambda_max < 50`, and whether they hold."""

from landscape.conditions.condition import Condition, Judgement, judge, parse_condition
from landscape.conditions.quantities import Known, Quantity
from landscape.results.interval import Interval

__all__ = ["Condition", "Interval", "Judgement", "Known", "Quantity", "judge", "parse_condition"]
