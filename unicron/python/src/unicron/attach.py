"""Level 1: a script that keeps its own loop tells its agent what happens, in band.

``attach()`` is one line. It reports a committed iteration at every step of the script's optimiser, and
exceptions that nobody catches, in any thread, with their tracebacks. It never raises into the script, never
waits for the agent, and costs some microseconds an iteration. Outside of Unicron it does nothing.

Which optimiser: of PyTorch's, the first that steps. A script with another one, or none, says
``attach().iteration(n)`` itself, and then the optimiser isn't listened to.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
import threading
import traceback
import weakref
from typing import Any, Callable, Iterator, Optional

from . import protocol
from .agent import Agent

FLUSH_S = 0.3
"""How long an end may take that waits until all is said."""

_attachment: "Optional[Attachment]" = None


class Attachment:
    """The connection of this process with its agent, if it has one."""

    def __init__(self, agent: Optional[Agent]) -> None:
        self._agent = agent
        self._iteration = 0
        self._counts_itself = False
        self._optimizer: "Optional[weakref.ref[Any]]" = None

    @property
    def is_attached(self) -> bool:
        """Whether anybody listens."""
        return self._agent is not None and self._agent.lost is None

    def iteration(self, number: int, loss: Optional[float] = None, kind: str = "train") -> None:
        """Iteration ``number``, from 1, has ended. From now on it is the script that counts, not its
        optimiser's steps. Numbers that don't grow are those of a run that went back."""
        self._counts_itself = True
        self._ended(number, loss, kind)

    @contextlib.contextmanager
    def evaluation(self) -> Iterator[None]:
        """What is within takes as long as an evaluation, not as an iteration."""
        with self._kind("evaluation"):
            yield

    @contextlib.contextmanager
    def checkpoint(self) -> Iterator[None]:
        """What is within writes a checkpoint."""
        with self._kind("checkpoint"):
            yield

    def exception(self, error: BaseException) -> None:
        """Something was raised that the script is about to end with."""
        if self._agent is not None:
            _report(self._agent, error)

    @contextlib.contextmanager
    def _kind(self, kind: str) -> Iterator[None]:
        self._begin(kind)
        try:
            yield
        finally:
            self._begin("train")

    def _begin(self, kind: str) -> None:
        if self._agent is not None:
            self._agent.send(protocol.iteration(self._epoch(), self._iteration + 1, kind))

    def _ended(self, number: int, loss: Optional[float], kind: str) -> None:
        if self._agent is None:
            return
        if number <= self._iteration:
            self._agent.send(protocol.rolled_back(self._epoch(), max(number - 1, 0)))
        if kind != "train":
            # What the agent takes it for: it would have been told before.
            self._agent.send(protocol.iteration(self._epoch(), number, kind))
        self._iteration = number
        self._agent.send(protocol.committed(self._epoch(), number, _number(loss)))

    def _epoch(self) -> int:
        group = self._agent.group if self._agent is not None else None
        return group.epoch if group is not None else 0

    def _stepped(self, optimizer: Any) -> None:
        """An optimiser has taken a step. The first that ever did counts, as long as it lives."""
        if self._counts_itself:
            return
        counted = self._optimizer() if self._optimizer is not None else None
        if counted is None:
            self._optimizer = weakref.ref(optimizer)
        elif counted is not optimizer:
            return
        self._ended(self._iteration + 1, None, "train")


def attach() -> Attachment:
    """Attaches this process to its agent, once; the same again after that."""
    global _attachment
    if _attachment is None:
        _attachment = Attachment(_connect())
        if _attachment._agent is not None:
            report_exceptions(_attachment._agent)
            try:
                _listen_to_optimizers(_attachment)
            except Exception as error:
                # Of a PyTorch that is made otherwise: a script that counts itself is still heard.
                sys.stderr.write(f"unicron: steps of optimisers aren't heard: {error}\n")
    return _attachment


def take_over() -> Optional[Agent]:
    """The agent of an attachment, if there is one: from now on somebody else says what happens, and the
    attachment nothing. An agent talks to a worker over one connection alone."""
    if _attachment is None:
        return None
    agent, _attachment._agent = _attachment._agent, None
    return agent


def _connect() -> Optional[Agent]:
    try:
        return Agent.of_environment(os.environ)
    except (OSError, ValueError, KeyError) as error:
        # The script runs on without.
        sys.stderr.write(f"unicron: no agent: {error}\n")
        return None


def report_exceptions(agent: Agent) -> None:
    """Reports what nobody catches, then does what would be done without."""
    before, before_in_thread = sys.excepthook, threading.excepthook

    def hook(kind: Any, error: Any, trace: Any) -> None:
        if not issubclass(kind, KeyboardInterrupt):
            _report(agent, error)
        before(kind, error, trace)

    def hook_in_thread(arguments: Any) -> None:
        # A thread that ends itself by SystemExit is none that dies.
        if arguments.exc_value is not None and not isinstance(arguments.exc_value, SystemExit):
            _report(agent, arguments.exc_value)
        before_in_thread(arguments)

    sys.excepthook, threading.excepthook = hook, hook_in_thread
    atexit.register(agent.flush, FLUSH_S)


def _report(agent: Agent, error: BaseException) -> None:
    try:
        lines = traceback.format_exception(type(error), error, error.__traceback__)
        message = "".join(traceback.format_exception_only(type(error), error)).strip()
        agent.send(protocol.exception(message, "".join(lines)))
        agent.flush(FLUSH_S)
    except Exception:
        # An exception whose text can't be had: the interpreter's own hook says what it can.
        pass


def _number(loss: Any) -> Optional[float]:
    try:
        return None if loss is None else float(loss)
    except (TypeError, ValueError):
        return None


def _listen_to_optimizers(attachment: Attachment) -> None:
    """Hears every step of PyTorch's optimisers, those of classes to come as well."""
    if "torch" in sys.modules:
        _listen_in(sys.modules["torch"], attachment)
    else:
        sys.meta_path.insert(0, _TorchWatcher(attachment))


def _listen_in(torch: Any, attachment: Attachment) -> None:
    try:
        optimizer = torch.optim.Optimizer
    except AttributeError:
        return
    own = optimizer.__dict__.get("__init_subclass__")

    def of_subclass(cls: Any, /, **arguments: Any) -> None:
        if own is not None:
            own.__func__(cls, **arguments)
        else:
            super(optimizer, cls).__init_subclass__(**arguments)
        _wrap(cls, attachment)

    optimizer.__init_subclass__ = classmethod(of_subclass)
    pending = [optimizer]
    while pending:
        cls = pending.pop()
        pending.extend(cls.__subclasses__())
        _wrap(cls, attachment)


_depth = threading.local()


def _wrap(cls: Any, attachment: Attachment) -> None:
    step = cls.__dict__.get("step")
    if step is None or getattr(step, "_is_heard_by_unicron", False):
        return
    heard = _heard(step, attachment)
    # PyTorch marks functions; a wrapper has the marks of what it wraps.
    heard.__dict__.update(getattr(step, "__dict__", {}))
    heard.__name__, heard.__doc__ = getattr(step, "__name__", "step"), step.__doc__
    heard._is_heard_by_unicron = True
    cls.step = heard


def _heard(step: Callable[..., Any], attachment: Attachment) -> Any:
    def heard(self: Any, *arguments: Any, **named: Any) -> Any:
        # A step that calls its base class's is one step.
        outer = getattr(_depth, "value", 0)
        _depth.value = outer + 1
        try:
            result = step(self, *arguments, **named)
        finally:
            _depth.value = outer
        if outer == 0:
            attachment._stepped(self)
        return result

    return heard


class _TorchWatcher:
    """Hears when ``torch`` is imported, and goes."""

    def __init__(self, attachment: Attachment) -> None:
        self._attachment = attachment

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name != "torch":
            return None
        sys.meta_path.remove(self)
        import importlib.util

        spec = importlib.util.find_spec("torch")
        if spec is not None and spec.loader is not None:
            run = spec.loader.exec_module

            def exec_module(module: Any) -> None:
                run(module)
                _listen_in(module, self._attachment)

            spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


def _forget_in_child() -> None:
    # What the child would say isn't said by its parent.
    if _attachment is not None:
        _attachment._agent = None


os.register_at_fork(after_in_child=_forget_in_child)
