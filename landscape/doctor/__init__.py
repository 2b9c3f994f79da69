"""Why the landscape of a checkpoint would look wrong."""

from landscape.doctor.examine import examine
from landscape.doctor.findings import Finding, Severity

__all__ = ["Finding", "Severity", "examine"]
