"""Functions of JAX and Python whose type annotations are missing or too loose, each typed once.

An assignment suffices: a function without types takes the type of the variable. The functions remain the same.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import ParamSpec, Protocol, TypedDict, TypeVar, Unpack, overload

import jax
import jax.numpy as jnp
import numpy as np
from jax import ad_checkpoint
from jax.sharding import PartitionSpec, Sharding

from .types import Array, DType, F, PyTree, Shape

P = ParamSpec("P")
R_co = TypeVar("R_co", covariant=True)
R = TypeVar("R")
T = TypeVar("T")


class Jitted(Protocol[P, R_co]):
    """A compiled function, with the arguments and the result of the function itself."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """Call it, compiled at the first call with such arguments."""

    def lower(self, *args: P.args, **kwargs: P.kwargs) -> jax.stages.Lowered:
        """Its program for these arguments or their shapes."""

    def trace(self, *args: P.args, **kwargs: P.kwargs) -> jax.stages.Traced:
        """Its trace for these arguments or their shapes."""

    def eval_shape(self, *args: P.args, **kwargs: P.kwargs) -> PyTree:
        """The shapes and dtypes of its result."""


class _JitOptions(TypedDict, total=False):
    static_argnums: int | Sequence[int]
    static_argnames: str | Iterable[str]
    donate_argnums: int | Sequence[int]
    donate_argnames: str | Iterable[str]
    inline: bool


class _Jit(Protocol):
    @overload
    def __call__(self, fn: Callable[P, R], /, **options: Unpack[_JitOptions]) -> Jitted[P, R]: ...
    @overload
    def __call__(self, **options: Unpack[_JitOptions]) -> Callable[[Callable[P, R]], Jitted[P, R]]: ...


class UserContext(Protocol[T]):
    """A value that JAX's caches of compiled functions are keyed by, within a ``with`` statement."""

    @property
    def value(self) -> T:
        """The current value."""

    def __call__(self, value: T) -> AbstractContextManager[None]:
        """Set it."""


class _MakeUserContext(Protocol):
    def __call__(self, default_value: T) -> UserContext[T]: ...


class _ArraySpec(Protocol):
    def __call__(self, shape: Shape, dtype: DType, *, sharding: Sharding | None = None) -> jax.ShapeDtypeStruct: ...


class _TreeMap(Protocol):
    def __call__(
        self, fn: Callable[..., object], tree: T, /, *rest: T, is_leaf: Callable[..., bool] | None = None
    ) -> T: ...


class _Wraps(Protocol):
    def __call__(self, fn: F, /) -> Callable[[Callable[..., object]], F]: ...


class _Same(Protocol):
    def __call__(self, tree: T, /) -> T: ...


class _Placed(Protocol):
    def __call__(self, tree: T, shardings: PyTree, /) -> T: ...


jit: _Jit = jax.jit
tree_map: _TreeMap = jax.tree.map  # for functions that keep the types of the leaves
array_spec: _ArraySpec = jax.ShapeDtypeStruct
make_user_context: _MakeUserContext = jax.make_user_context
partition_spec: Callable[..., PartitionSpec] = PartitionSpec
finfo: Callable[[DType], np.finfo[np.floating]] = jnp.finfo
uint32: Callable[[int], Array] = jnp.uint32
wrap_key_data: Callable[..., Array] = jax.random.wrap_key_data
block_until_ready: _Same = jax.block_until_ready
device_put: _Placed = jax.device_put
with_sharding_constraint: _Placed = jax.lax.with_sharding_constraint
checkpoint_name: Callable[[Array, str], Array] = ad_checkpoint.checkpoint_name
wraps: _Wraps = functools.wraps  # type: ignore[assignment]  # for wrappers that take the arguments of what they wrap
