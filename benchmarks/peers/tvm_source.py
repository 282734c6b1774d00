"""Apache TVM's C for an ONNX file, with a function that calls it: `python tvm_source.py MODEL.onnx OUTPUT.c NAME`.

It runs in the environment that TVM is installed in, which need not be ours, and imports nothing of ours.

The kernels are TVM's, fused and folded by its own passes. TVM calls them by its runtime; on a core without one they are
called one after the other, and buffers are taken and given back as they are needed. The texts of errors are left out.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
import tvm
from tvm import relax, tirx
from tvm.relax.frontend.onnx import from_onnx

SHIM = """
#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <malloc.h>
#include <stdlib.h>
typedef struct { int32_t device_type, device_id; } DLDevice;
typedef struct { uint8_t code, bits; uint16_t lanes; } DLDataType;
typedef struct {
    void *data; DLDevice device; int32_t ndim; DLDataType dtype; int64_t *shape, *strides; uint64_t byte_offset;
} DLTensor;
typedef struct {
    int32_t type_index; uint32_t zero_padding; union { int64_t v_int64; double v_float64; void *v_ptr; };
} TVMFFIAny;
#define TVM_DLL
#define TVMFFIErrorSetRaisedFromCStrParts(kind, parts, n) ((void)(parts))
#define TVMBackendAllocWorkspace(type, id, bytes, code, bits) memalign(64, (size_t)(bytes))
#define TVMBackendFreeWorkspace(type, id, pointer) (free(pointer), 0)
#define TENSOR_TYPE 7
"""


def main(model: str, output: str, name: str) -> None:
    """Write the C file."""
    lowered = _lowered(onnx.load(model))
    Path(output).write_text("\n".join([SHIM, _kernels(lowered), _driver(lowered["main"], name)]))


def _lowered(model: onnx.ModelProto) -> tvm.IRModule:
    passes = [
        relax.transform.DecomposeOpsForInference(), relax.transform.FoldConstant(), relax.transform.LegalizeOps(),
        relax.transform.AnnotateTIROpPattern(), relax.transform.FoldConstant(), relax.transform.FuseOps(),
        relax.transform.FuseTIR(), relax.transform.DeadCodeElimination(),
    ]  # fmt: skip
    with tvm.target.Target("c"):
        return tvm.transform.Sequential(passes)(from_onnx(model, keep_params_in_input=False))


def _kernels(module: tvm.IRModule) -> str:
    functions = {
        variable: module[variable].with_attr("global_symbol", variable.name_hint)
        for variable in module.get_global_vars()
        if isinstance(module[variable], tirx.PrimFunc)
    }
    target = tvm.target.Target({"kind": "c"}, host={"kind": "c"})
    source = tirx.build(tvm.IRModule(functions), target=target).inspect_source()
    return "\n".join(line for line in source.splitlines() if not line.startswith("#include"))


def _driver(main: relax.Function, name: str) -> str:
    """One call after the other: the bindings of main, which are calls of kernels alone."""
    bindings = [binding for block in main.body.blocks for binding in block.bindings]
    calls = [(binding.var, binding.value.args[0].name_hint, list(binding.value.args[1])) for binding in bindings
             if isinstance(binding.value, relax.Call)]  # fmt: skip
    last = {argument: number for number, (_, _, given) in enumerate(calls) for argument in _variables(given)}
    lines: list[str] = []
    constants: list[str] = []
    for number, (result, kernel, given) in enumerate(calls):
        final = number == len(calls) - 1
        taken = "adv" if final else f"memalign(64, {_bytes(result)})"
        lines.append(f"    float *{result.name} = {taken};")
        lines.append(f"    {{ TVMFFIAny args[{len(given) + 1}];")
        for place, argument in enumerate([*given, result]):
            if hasattr(argument, "value"):
                constants.append(_constant(len(constants), argument.value.numpy()))
                lines.append(_argument(place, f"(void *)constant_{len(constants) - 1}", argument.value.shape))
            else:
                lines.append(_argument(place, f"(void *){argument.name}", _shape(argument)))
        lines.append(f"    if (__tvm_ffi_{kernel}(0, args, {len(given) + 1}, &args[0])) abort(); }}")
        lines += [f"    free({argument.name});" for argument in _variables(given)
                  if last[argument] == number and argument not in list(main.params)]  # fmt: skip
    head = f"void {name}(const float *{main.params[0].name}, float *adv)\n{{"
    return "\n".join([*constants, head, *lines, "}"]) + "\n"


def _variables(given: list[relax.Expr]) -> list[relax.Var]:
    return list(dict.fromkeys(argument for argument in given if isinstance(argument, relax.Var)))


def _shape(variable: relax.Var) -> list[int]:
    return [int(size) for size in variable.ty.shape]


def _bytes(variable: relax.Var) -> int:
    return 4 * int(np.prod(_shape(variable)))


def _argument(place: int, data: str, shape: list[int]) -> str:
    sizes = ", ".join(map(str, shape))
    return (
        f"    int64_t shape_{place}[] = {{{sizes}}};"
        f" DLTensor tensor_{place} = {{{data}, {{1, 0}}, {len(shape)}, {{2, 32, 1}}, shape_{place}, NULL, 0}};"
        f" args[{place}].type_index = TENSOR_TYPE; args[{place}].zero_padding = 0;"
        f" args[{place}].v_ptr = &tensor_{place};"
    )


def _constant(number: int, values: np.ndarray) -> str:
    numbers = ", ".join(f"{value:.9g}f" if "." in f"{value:.9g}" or "e" in f"{value:.9g}" else f"{value:.9g}.0f"
                        for value in values.ravel().tolist())  # fmt: skip
    return f"static const float constant_{number}[] __attribute__((aligned(64))) = {{{numbers}}};"


if __name__ == "__main__":
    main(*sys.argv[1:])
