"""The fastpath doctor: is it taken, why not, with proof and the cure, for any model that holds an encoder."""

from engine.doctor.examination import doctor, examine_request

__all__ = ["doctor", "examine_request"]
