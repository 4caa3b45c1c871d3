"""Compiled programs: shared by all visitors, bounded in number, and compiled without holding anything of a visitor."""

from __future__ import annotations

import collections
import concurrent.futures
import functools
import threading
from collections.abc import Callable, Hashable
from typing import Generic, NamedTuple, ParamSpec, TypeVar

from .._core.typed import jit
from .._core.types import PyTree
from ..training.batch import Signature

P = ParamSpec("P")
R = TypeVar("R")
MOST = 600
"""Programs that are kept, of all visitors together; a network and its views need about six."""


class Program(NamedTuple):
    """What a program is compiled from: a function, its static arguments, and the shapes of the others."""

    function: Callable[..., PyTree]
    static: tuple[Hashable, ...]
    shapes: Signature

    def compile(self) -> Callable[..., PyTree]:
        """Compile it. JAX keeps nothing of it, since nobody else has this partial function."""
        return jit(functools.partial(self.function, *self.static)).lower(*self.shapes.tree()).compile()


class Programs:
    """The programs used last. Whoever asks for one that is being compiled waits for it."""

    def __init__(self) -> None:
        self.kept: collections.OrderedDict[Program, concurrent.futures.Future[Callable[..., PyTree]]]
        self.kept = collections.OrderedDict()
        self._lock = threading.Lock()

    def __contains__(self, program: Program) -> bool:
        with self._lock:
            return program in self.kept and self.kept[program].done()

    def get(self, program: Program) -> Callable[..., PyTree]:
        """The compiled program."""
        with self._lock:
            future = self.kept.get(program)
            own = future is None
            if future is None:
                future = self.kept[program] = concurrent.futures.Future()
            self.kept.move_to_end(program)
            while len(self.kept) > MOST:
                self.kept.popitem(last=False)
        if own:
            try:
                future.set_result(program.compile())
            except BaseException as error:
                with self._lock:
                    self.kept.pop(program, None)
                future.set_exception(error)
        return future.result()


PROGRAMS = Programs()


class Compiled(Generic[P, R]):
    """A function of which each program is one of `PROGRAMS`; its first arguments are static."""

    def __init__(self, function: Callable[P, R], static: int) -> None:
        self.function, self.static = function, static
        functools.update_wrapper(self, function)

    def program(self, *args: P.args, **kwargs: P.kwargs) -> Program:
        """What these arguments, or others of the same shapes, need."""
        assert not kwargs
        return Program(self.function, args[: self.static], Signature.of(args[self.static :]))

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run it, compiled if nobody has compiled it before."""
        result: R = PROGRAMS.get(self.program(*args, **kwargs))(*args[self.static :])
        return result


def compiled(static: int) -> Callable[[Callable[P, R]], Compiled[P, R]]:
    """Compile a function for each value of its first arguments, and each shape of the others."""
    return lambda function: Compiled(function, static)
