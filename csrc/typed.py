"""Write what C and Cython have of the table of operators: names, and typed functions.

``python csrc/typed.py`` after a change of the table; a test holds the files to it.
"""

from __future__ import annotations

from pathlib import Path

from hmimo_fast.kernels.operators import ARGUMENTS, OPERATORS, Operator

PACKAGE = Path(__file__).parent.parent / "hmimo_fast"
NAMES = PACKAGE / "include/hmimo_fast_operators.h"
HEADER, DECLARATIONS = PACKAGE / "include/hmimo_fast_typed.h", PACKAGE / "kernels/typed.pxd"
WIDTH = 99

OPTIONS = {bool: "int", int: "int64_t", float: "double"}
OUTPUTS = {"c": "void", "r": "void", "q": "void", "d": "double", "i": "int64_t", "b": "uint8_t"}

OF_TABLE = """\
/* The operators in the order of the table, and their inputs and options by name: an operator's
 * `inputs` and `options` may be taken for these.  Written by csrc/typed.py. */
#ifndef HMIMO_FAST_OPERATORS_H
#define HMIMO_FAST_OPERATORS_H

{operators}
/* DO(name, NAME, outputs) of each operator; outputs by kind and sizes, as in the table. */
{each}
typedef struct {{
    const void *data;
    ptrdiff_t step;
}} hf_operand;

{structures}
#endif
"""

IN_C = """\
/* A function with named arguments for each operator of hmimo_fast.h: the table of kernels, the
 * shape, inputs, options and outputs.  Written by csrc/typed.py. */
#ifndef HMIMO_FAST_TYPED_H
#define HMIMO_FAST_TYPED_H

#include "hmimo_fast.h"

{functions}
#endif
"""

IN_CYTHON = '''\
"""The typed functions of ``hmimo_fast_typed.h``, which take the table that ``kernels()`` gives.

Written by csrc/typed.py.
"""

from libc.stdint cimport int64_t, uint8_t

from hmimo_fast.kernels.native cimport hf_operand, hf_shape, hf_table


cdef extern from "hmimo_fast_typed.h" nogil:
'''


def parameters(op: Operator) -> list[str]:
    """Inputs, options and outputs with their types in C; what a result would shadow is ``to_``."""
    results = [f"to_{name}" if name in op.inputs or name in op.options else name
               for name in op.outputs]  # fmt: skip
    return [
        *(f"hf_operand {name}" for name in op.inputs),
        *(f"{OPTIONS[option.type]} {name}" for name, option in op.options.items()),
        *(
            f"{OUTPUTS[ARGUMENTS[name].kind]} *{result}"
            for name, result in zip(op.outputs, results, strict=True)
        ),
    ]


def filled(first: str, parts: list[str], last: str) -> str:
    """Parts with commas between them, on as many lines as it takes."""
    lines, indent = [first], " " * len(first)
    for i, part in enumerate(parts):
        part += last if i + 1 == len(parts) else ","
        room = WIDTH - len(lines[-1]) - 1
        if lines[-1] not in (first, indent) and len(part) > room:
            lines.append(indent)
        lines[-1] += part if lines[-1] in (first, indent) else " " + part
    return "\n".join(lines) + "\n"


def structures(op: Operator) -> str:
    """Its inputs and options in C."""
    text = filled("typedef struct { hf_operand ", [*op.inputs], f"; }} hf_{op.name}_inputs;")
    if op.options:
        text += filled("typedef struct { double ", [*op.options], f"; }} hf_{op.name}_options;")
    return text


def each() -> str:
    """The macro that goes through the operators."""
    lines = ["#define HF_EACH_OPERATOR(DO)"]
    for op in OPERATORS.values():
        outputs = [f'"{ARGUMENTS[name].kind}{core}"' for name, core in op.outputs.items()]
        lines += [f"    DO({', '.join([op.name, op.name.upper(), *outputs])})"]
    return " \\\n".join(lines) + "\n"


def in_c(op: Operator) -> str:
    """The definition of a function in C."""
    head = ["const hf_table *kernels", "const hf_shape *shape", *parameters(op)]
    names = [parameter.split()[-1].lstrip("*") for parameter in head[2:]]
    split, stop = len(op.inputs), len(op.inputs) + len(op.options)
    text = filled(f"static inline int hf_{op.name}(", head, ") {")
    text += filled("    const hf_operand inputs[] = {", names[:split], "};")
    if op.options:
        numbers = [
            name if op.options[name].type is float else f"(double){name}"
            for name in names[split:stop]
        ]
        text += filled("    const double options[] = {", numbers, "};")
    text += filled("    void *const outputs[] = {", names[stop:], "};")
    options = "options" if op.options else "NULL"
    text += (
        f"    return kernels->operators[HF_{op.name.upper()}](shape, inputs, {options}, outputs);"
    )
    return text + "\n}\n"


def in_cython(op: Operator) -> str:
    """Its declaration in Cython."""
    types = [parameter.rpartition(" ")[0] for parameter in parameters(op)]
    types = [
        f"{type_} *" if "*" in parameter else type_
        for type_, parameter in zip(types, parameters(op), strict=True)
    ]
    text = f"    int hf_{op.name}(\n"
    return text + filled("        ", ["const hf_table *", "const hf_shape *", *types], ") noexcept")


def texts() -> dict[Path, str]:
    """What the files should hold."""
    functions = "\n".join(map(in_c, OPERATORS.values()))
    return {
        NAMES: OF_TABLE.format(
            operators=filled(
                "enum { ", [f"HF_{x.upper()}" for x in (*OPERATORS, "operators")], " };"
            ),
            each=each(),
            structures="".join(map(structures, OPERATORS.values())),
        ),
        HEADER: IN_C.format(functions=functions),
        DECLARATIONS: IN_CYTHON + "".join(map(in_cython, OPERATORS.values())),
    }


if __name__ == "__main__":
    for path, text in texts().items():
        path.write_text(text)
