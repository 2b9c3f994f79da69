"""Conditions on the geometry of a network, such as `lambda_max < 50`, and whether they hold."""

from landscape.gate.condition import Condition, parse_condition
from landscape.gate.interval import Interval
from landscape.gate.judgement import Judgement, judge
from landscape.gate.quantities import Known, Quantity

__all__ = ["Condition", "Interval", "Judgement", "Known", "Quantity", "judge", "parse_condition"]
