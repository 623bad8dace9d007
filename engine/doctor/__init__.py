"""The fastpath doctor: whether an encoder takes the fastpath, why not, with proof, and what makes it do so.

`engine.doctor` is the name of this package and of its public function. So the package can be called, and
`doctor(model, example)` works whether the package or `from engine import doctor` was imported first.
`engine.doctor.doctor` is the function itself, with its arguments.
"""

import sys
from types import ModuleType

from engine.doctor.examination import doctor, examine_request

__all__ = ["doctor", "examine_request"]


class _CallablePackage(ModuleType):
    __call__ = staticmethod(doctor)


__wrapped__ = doctor  # where inspect.signature, and so an editor, finds the arguments
sys.modules[__name__].__class__ = _CallablePackage
