"""Who is examined: a model, its call, and the settings held around the call.

A cure or a modification never touches the caller's model: it gets a copy that shares every parameter, so that even a
large model is copied at once and in next to no memory.
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
    """What is held around a call; None leaves everything as the caller has it.

    Attributes:
        autocast: a dtype enters autocast on the CPU, "off" leaves it on every device.
        default_device: enters `torch.set_default_device`.
        function_modes: False hides every torch function mode, a default device among them.
    """

    gradients: bool | None = None
    fastpath: bool | None = None
    autocast: torch.dtype | Literal["off"] | None = None
    default_device: str | None = None
    function_modes: bool = True

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the settings and put every one of them back."""
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
        model: never changed in place; `changed` gives a subject with a changed copy.
        compiled: dotted names of the modules that were compiled, each with torch's own record of how; the model here
            is the plain one.
    """

    model: nn.Module
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    setting: Setting = Setting()
    compiled: tuple[tuple[str, Any], ...] = ()

    def forward(self) -> Callable[[], Any]:
        """The call without its settings, which are to be held around it."""
        run = _compiled(self.model, self.compiled) if self.compiled else self.model
        return lambda: run(*self.args, **self.kwargs)

    def changed(self, change: Callable[[nn.Module], object]) -> "Subject":
        """The same call on a copy of the model that was changed."""
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
    """A subject from what a user hands over.

    Args:
        model: any module; what torch.compile made of it, or of a part of it, is examined plain and run compiled.
        example: one tensor, a tuple or list of positional arguments, or a dict of keyword arguments.

    Raises:
        Refusal: it is no module, or one that cannot be looked into or copied.
    """
    if not isinstance(model, nn.Module):
        raise Refusal(
            f"The doctor takes a module and then what it is called with; {type(model).__name__} is no nn.Module."
        )
    if isinstance(model, torch.jit.ScriptModule):
        raise Refusal(
            "A TorchScript module keeps no nn.TransformerEncoder to look into: pass the module it was made from."
        )
    args, kwargs = _call_of(example)
    return Subject(_plain(shared_copy(model)), args, kwargs, compiled=tuple(_compilations(model)))


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
    """What `Module.compile` keeps only inside the function it made."""
    cells = (cell.cell_contents for cell in compiled_call.__closure__ or ())
    return next(held for held in cells if type(held).__name__ == "OptimizeContext")


def _plain(model: nn.Module) -> nn.Module:
    """The modules without torch.compile's wrappers; `Module.compile` is not copied in the first place."""
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if _is_compiled_wrapper(child):
                setattr(module, name, child._orig_mod)
    original: nn.Module = getattr(model, "_orig_mod", model)
    return original


def _compiled(model: nn.Module, compiled: tuple[tuple[str, Any], ...]) -> Callable[..., Any]:
    """A copy of the plain modules, compiled again where they were."""
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
    """A copy of the modules that shares the parameters; buffers, which a forward may change, are copied.

    What else a module holds is copied where it can be, and shared where it cannot: a lock, an open file.

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
    except Exception as error:  # a __deepcopy__ of the user's own
        raise Refusal(
            f"The model cannot be copied ({type(error).__name__}: {error}), so it was not examined: the doctor tries "
            "cures on a copy only."
        ) from None


def _shared(model: nn.Module) -> Iterator[Tensor]:
    yield from model.parameters()
    for module in model.modules():
        # torch's older weight_norm and pruning keep a computed tensor as a plain attribute.
        yield from (value for value in vars(module).values() if isinstance(value, Tensor))


def _call_of(example: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if isinstance(example, Mapping):
        return (), dict(example)
    if isinstance(example, tuple | list):
        return tuple(example), {}
    return (example,), {}
