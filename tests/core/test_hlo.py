"""Reading compiled programs."""

import jax
import jax.numpy as jnp
import pytest

from fnn._core.hlo import read_program

TEXT = """HloModule jit_f, is_scheduled=true

%fused (p0: f32[1000,8], p1: s32[]) -> f32[4,8] {
  %p1 = s32[] parameter(1)
  %p0 = f32[1000,8]{1,0} parameter(0)
  %zero = s32[] constant(0)
  ROOT %rows = f32[4,8]{1,0} dynamic-slice(%p0, %p1, %zero), dynamic_slice_sizes={4,8}
}

%body (carry: (s32[], f32[4,8])) -> (s32[], f32[4,8]) {
  %carry = (s32[], f32[4,8]{1,0}) parameter(0)
  %i = s32[] get-tuple-element(%carry), index=0
  %a = f32[4,8]{1,0} get-tuple-element(%carry), index=1
  %near = bf16[4,8]{1,0:T(8,128)S(1)} convert(%a), metadata={op_name="jit(f)/while/body/convert"}
  %b = f32[4,8]{1,0} exponential(%near), backend_config={"window_config":{"estimated_cycles":"7"}}
  %next = s32[] add(%i, %i)
  ROOT %out = (s32[], f32[4,8]{1,0}) tuple(%next, %b)
}

%condition (carry.1: (s32[], f32[4,8])) -> pred[] {
  %carry.1 = (s32[], f32[4,8]{1,0}) parameter(0)
  %i.1 = s32[] get-tuple-element(%carry.1), index=0
  %end = s32[] constant(5)
  ROOT %less = pred[] compare(%i.1, %end), direction=LT
}

ENTRY %main (x: f32[1000,8], k: s32[]) -> (s32[], f32[4,8]) {
  %x = f32[1000,8]{1,0} parameter(0)
  %k = s32[] parameter(1)
  %part = f32[4,8]{1,0} fusion(%x, %k), kind=kLoop, calls=%fused, metadata={op_name="jit(f)/read"}
  %sum = f32[4,8]{1,0} negate(%part)
  %start = (s32[], f32[4,8]{1,0}) tuple(%k, %sum)
  ROOT %loop = (s32[], f32[4,8]{1,0}) while(%start), condition=%condition, body=%body
}
"""


def test_what_runs_and_how_often():
    program = read_program(TEXT)
    ran = [(one.name, times) for _, one, times in program.running(program.entry)]
    assert ran == [("part", 1), ("sum", 1), ("near", 5), ("b", 5), ("next", 5)]
    assert program.largest_loop() == "body"
    assert sum(times * (one.cycles or 0) for _, one, times in program.running(program.entry)) == 35


def test_sizes_scopes_and_traffic():
    program = read_program(TEXT)
    main, body = program.computations["main"], program.computations["body"]
    assert main["x"].size == 32_000
    assert main["start"].size == 4 + 128
    assert main["part"].scope == "jit(f)/read"
    # A slice of a large array, whatever the order of the parameters, and values in on-chip memory: no traffic.
    assert program.traffic("main", main["part"]) == 128 + 4 + 128
    assert (body["near"].size, body["near"].far) == (64, 0)
    assert program.traffic("body", body["b"]) == 128


EXCHANGES = """HloModule jit_g

%all-reduce-scatter.1 (p: f32[64]) -> f32[8] {
  %p = f32[64]{0} parameter(0)
  %sum = f32[64]{0} all-reduce(%p), channel_id=4, to_apply=%add
  ROOT %part = f32[8]{0} dynamic-slice(%sum), dynamic_slice_sizes={8}
}

%begin (q: f32[8]) -> f32[64] {
  %q = f32[8]{0} parameter(0)
  ROOT %whole = f32[64]{0} all-gather(%q), channel_id=5, dimensions={0}
}

%finish (r: f32[8]) -> f32[64] {
  %r = f32[8]{0} parameter(0)
  ROOT %whole.1 = f32[64]{0} all-gather(%r), channel_id=5, dimensions={0}
}

ENTRY %main (x: f32[100], y: f32[64]) -> f32[100] {
  %x = f32[100]{0} parameter(0)
  %y = f32[64]{0} parameter(1)
  %start = ((f32[100]{0}), f32[100]{0}) all-reduce-start(%x), channel_id=1, to_apply=%add
  %done = f32[100]{0} all-reduce-done(%start)
  %count = (f32[], s32[]) all-reduce(%y, %y), channel_id=2, to_apply=%add
  %scattered = f32[8]{0} fusion(%y), kind=kCustom, calls=%all-reduce-scatter.1
  %first = f32[64]{0} fusion(%scattered), kind=kCustom, calls=%begin
  %second = f32[64]{0} fusion(%scattered), kind=kCustom, calls=%finish
  ROOT %out = f32[100]{0} negate(%done)
}
"""


def test_what_devices_exchange():
    """One that overlaps with others counts once, whether it has a start and an end or stands in several fusions."""
    program = read_program(EXCHANGES)
    found = list(program.exchanges(program.entry))
    assert found == [
        ("all-reduce", 400, 1), ("all-reduce", 8, 1), ("reduce-scatter", 32, 1), ("all-gather", 256, 1)
    ]  # fmt: skip


def test_unreadable_text_gives_an_empty_program():
    for text in ("", "no program", "ENTRY %main () -> f32[] {\n  nonsense\n}"):
        program = read_program(text)
        assert list(program.running(program.largest_loop())) == []


@pytest.mark.parametrize("rounds", [3, 6])
def test_programs_of_this_machine(rounds):
    def f(w, x):
        with jax.named_scope("layer"):
            return jax.lax.scan(lambda c, _: (jnp.tanh(c @ w), None), x, None, length=rounds)[0]

    compiled = jax.jit(f).lower(jnp.ones((64, 64)), jnp.ones((32, 64))).compile()
    program = read_program(compiled.as_text())
    ran = [(one, times) for _, one, times in program.running(program.entry)]
    assert max(times for _, times in ran) == rounds
    assert any("layer" in one.scope for one, _ in ran)
