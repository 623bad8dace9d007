"""The fastpath doctor: whether an encoder takes the fastpath, why not, with proof, and what makes it do so."""

from engine.doctor.examination import doctor, examine_request

__all__ = ["doctor", "examine_request"]
