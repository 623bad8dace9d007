"""The model under test, its call, and the settings held around the call.

Cures and modifications change a copy, never the caller's model. The copy shares every parameter, so even a large model
is copied quickly and with almost no memory.
"""

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from engine.errors import Refusal


@dataclass(frozen=True)
class Setting:
    """Settings that are held around a call; None keeps the caller's.

    Attributes:
        autocast: a dtype switches autocast on for the CPU; "off" switches it off on every device.
        default_device: torch's default device.
        function_modes: False disables every torch function mode, a default device included.
    """

    gradients: bool | None = None
    fastpath: bool | None = None
    autocast: torch.dtype | Literal["off"] | None = None
    default_device: str | None = None
    function_modes: bool = True

    @contextmanager
    def held(self) -> Iterator[None]:
        """Apply the settings, and restore the previous ones at the end."""
        with ExitStack() as stack:
            if self.default_device is not None:
                stack.enter_context(torch.device(self.default_device))
            if not self.function_modes:
                stack.enter_context(torch._C.DisableTorchFunction())
            if self.autocast == "off":
                stack.enter_context(torch.autocast("cpu", enabled=False))
                stack.enter_context(torch.autocast("cuda", enabled=False))
            elif self.autocast is not None:
                stack.enter_context(torch.autocast("cpu", self.autocast))
            if self.gradients is not None:
                stack.enter_context(torch.set_grad_enabled(self.gradients))
            if self.fastpath is not None:
                stack.enter_context(_fastpath(self.fastpath))
            yield


@contextmanager
def _fastpath(enabled: bool) -> Iterator[None]:
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(enabled)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


@dataclass(frozen=True)
class Subject:
    """A call that can be repeated.

    Attributes:
        model: never changed in place; `changed` returns a subject with a changed copy. It is not compiled.
        compiled: dotted names of the modules that the caller had compiled, each with torch's record of the options.
    """

    model: nn.Module
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    setting: Setting = Setting()
    compiled: tuple[tuple[str, Any], ...] = ()

    def forward(self) -> Callable[[], Any]:
        """The call, without its settings: the caller holds them around it."""
        run = _compiled(self.model, self.compiled) if self.compiled else self.model
        return lambda: run(*self.args, **self.kwargs)

    def changed(self, change: Callable[[nn.Module], object]) -> "Subject":
        """The same call on a changed copy of the model."""
        model = shared_copy(self.model)
        change(model)
        return replace(self, model=model)

    def with_setting(self, **settings: Any) -> "Subject":
        """The same call under other settings."""
        return replace(self, setting=replace(self.setting, **settings))

    def slow(self) -> "Subject":
        """The same call by the slow path: eval mode, no gradients, no modes, fastpath off, not compiled."""
        quiet = replace(self.setting, gradients=False, fastpath=False, function_modes=False)
        return replace(self.changed(nn.Module.eval), setting=quiet, compiled=())


def admit(model: nn.Module, example: Any) -> Subject:
    """A subject from a user's model and call.

    Args:
        model: any module. If it or a part of it was compiled by torch.compile, the plain modules are examined and the
            compiled ones are run.
        example: one tensor, a tuple or list of positional arguments, or a dict of keyword arguments.

    Raises:
        Refusal: it is not a module, one that cannot be inspected or copied, or one without values.
    """
    if not isinstance(model, nn.Module):
        raise Refusal(
            f"The doctor needs a module and then the arguments of its call; {type(model).__name__} is no nn.Module."
        )
    if isinstance(model, torch.jit.ScriptModule):
        raise Refusal(
            "A TorchScript module has no nn.TransformerEncoder to examine: pass the module that it was made from."
        )
    args, kwargs = _call_of(example)
    _check_values_exist(model, (*args, *kwargs.values()))
    return Subject(_plain(shared_copy(model)), args, kwargs, compiled=tuple(_compilations(model)))


def _check_values_exist(model: nn.Module, given: tuple[Any, ...]) -> None:
    """Refuse the device meta: its tensors have no values, and operators that write into memory end the process."""
    tensors = [
        *model.parameters(),
        *model.buffers(),
        *(value for value in given if isinstance(value, Tensor)),
    ]
    if any(tensor.is_meta for tensor in tensors):
        raise Refusal(
            "A tensor of the model or of its example is on the device meta, which holds no values, so nothing was "
            "examined: load the weights, and make the example on the model's device."
        )
    if torch.get_default_device().type == "meta":
        raise Refusal(
            "The default device is meta, where nothing can be computed, so nothing was examined: set it to the "
            "model's device after the model has been made."
        )


def _is_compiled_wrapper(module: nn.Module) -> bool:
    return hasattr(module, "_orig_mod") and hasattr(module, "dynamo_ctx")


def _compilations(model: nn.Module) -> Iterator[tuple[str, Any]]:
    for name, module in model.named_modules():
        plain_name = ".".join(part for part in name.split(".") if part != "_orig_mod")
        if _is_compiled_wrapper(module):
            yield plain_name, module.dynamo_ctx
        elif getattr(module, "_compiled_call_impl", None) is not None:
            yield plain_name, _context_of(module._compiled_call_impl)


def _context_of(compiled_call: Any) -> Any:
    """The record that `Module.compile` keeps, which exists only inside the compiled function."""
    cells = (cell.cell_contents for cell in compiled_call.__closure__ or ())
    return next(held for held in cells if type(held).__name__ == "OptimizeContext")


def _plain(model: nn.Module) -> nn.Module:
    """The modules without torch.compile's wrappers; a copy loses the effect of `Module.compile` anyway."""
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if _is_compiled_wrapper(child):
                setattr(module, name, child._orig_mod)
    original: nn.Module = getattr(model, "_orig_mod", model)
    return original


def _compiled(model: nn.Module, compiled: tuple[tuple[str, Any], ...]) -> Callable[..., Any]:
    """A copy of the plain modules, compiled again in the same places."""
    from torch._dynamo.eval_frame import OptimizedModule

    run = shared_copy(model)
    for name, context in compiled:
        parent, _, leaf = name.rpartition(".")
        if leaf:
            holder = run.get_submodule(parent)
            setattr(holder, leaf, OptimizedModule(getattr(holder, leaf), context))
    whole = next((context for name, context in compiled if not name), None)
    return run if whole is None else OptimizedModule(run, whole)


def shared_copy(model: nn.Module) -> nn.Module:
    """A copy of the modules that shares the parameters. Buffers are copied, because a forward may change them.

    Other attributes are copied if possible, and shared if not, such as a lock or an open file.

    Raises:
        Refusal: something in the model cannot be copied.
    """
    shared = {id(tensor): tensor for tensor in _shared(model)}
    try:
        return copy.deepcopy(model, dict(shared))
    except Exception:  # user code of any kind runs in a deep copy
        return _copy_of_modules_alone(model, shared)


def _copy_of_modules_alone(model: nn.Module, shared: dict[int, Any]) -> nn.Module:
    own = vars(nn.Module()).keys()
    for module in model.modules():
        shared |= {id(value): value for name, value in vars(module).items() if name not in own}
    try:
        return copy.deepcopy(model, shared)
    except Exception as error:  # from a __deepcopy__ of the user's class
        raise Refusal(
            f"The model cannot be copied ({type(error).__name__}: {error}), so it was not examined: the doctor tries "
            "cures on a copy only."
        ) from None


def _shared(model: nn.Module) -> Iterator[Tensor]:
    yield from model.parameters()
    for module in model.modules():
        # torch's older weight_norm and pruning store a computed tensor as a plain attribute.
        yield from (value for value in vars(module).values() if isinstance(value, Tensor))


def _call_of(example: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if isinstance(example, Mapping):
        return (), dict(example)
    if isinstance(example, tuple | list):
        return tuple(example), {}
    return (example,), {}
