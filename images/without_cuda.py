"""Take the CUDA half out of a CUDA build of torch, for images that only ever use the CPU.

Where PyTorch's own CPU wheels cannot be reached there is only the CUDA build, and 5 of its 6 GB are code that a CPU
never runs. Its libraries name each other, so they cannot simply be deleted: those that are still named are replaced by
a library of the same name that defines the same symbols, each of which stops the program. None is ever called, because
without the real libraries torch registers no CUDA backend: `torch.cuda.is_available()` is False.

    python3 without_cuda.py FOLDER      a folder of installed packages; needs binutils (nm, readelf, as, ld)
"""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

Symbol = tuple[str, str]  # its name, and its version or ''

USELESS = (
    "triton",
    "torch/include",
    "torch/bin/protoc*",
    "torch/test",
    "torch/share",
    "torch/lib/libtorch_cuda_linalg.so",
)

# What a name stands for must look like C++ type information: two words, the second one its name. Reading the name of a
# type is all that happens to any of them (when Python classes for CUDA's types are registered).
DATA = """
    .section .data
    .balign 16
    .globl {name}
    .type {name}, @object
    .size {name}, 256
{name}:
    .quad 0
    .quad 1f
    .zero 240
1:  .asciz "{name}"
"""
FUNCTION = """
    .text
    .globl {name}
    .type {name}, @function
{name}:
    mov $1, %eax
    mov $2, %edi
    lea 1f(%rip), %rsi
    mov $(2f - 1f), %edx
    syscall
    ud2
1:  .ascii "CUDA was removed from this installation of torch, but is called: {name}\\n"
2:
"""

# Called while torch's Python part is loaded: it gives a reference to a variable, into which a pointer is written.
REFERENCES = ("_ZN4c10d15get_gil_checkerEv",)
REFERENCE = """
    .text
    .globl {name}
    .type {name}, @function
{name}:
    lea 1f(%rip), %rax
    ret
    .section .data
    .balign 16
1:  .zero 64
"""


def main(folder: Path) -> None:
    torch_cuda = folder / "torch/lib/libtorch_cuda.so"
    for target in [path for name in USELESS for path in folder.glob(name)]:
        shutil.rmtree(target) if target.is_dir() else target.unlink(missing_ok=True)
    if not torch_cuda.exists():
        return  # a CPU build
    cuda = [*_nvidia(folder), torch_cuda]
    kept = [file for file in folder.rglob("*.so*") if file.is_file() and file not in cuda]
    named = {name for file in kept for name in _needed(file)}
    # CUDA's libraries carry copies of the C++ library: those names must go on meaning the real one.
    others = {name for file in (*kept, *_system()) for name, _ in _defined(file)}
    wanted = {symbol for file in kept for symbol in _undefined(file) if symbol[0] not in others}
    before = sum(file.stat().st_size for file in cuda)
    for file in cuda:
        defined = _defined(file) if file.name in named else {}
        file.unlink()
        if file.name in named:
            _stand_in(file, {symbol: kind for symbol, kind in defined.items() if symbol in wanted})
    print(f"without CUDA: {(before - sum(f.stat().st_size for f in cuda if f.exists())) >> 20} MiB less")


def _nvidia(folder: Path) -> list[Path]:
    """NVIDIA's libraries but the small runtime, with which torchaudio's CUDA code registers as it is loaded."""
    files = (folder / "nvidia").glob("*/lib/*.so*")
    return [file for file in files if file.is_file() and not file.name.startswith("libcudart")]


def _system() -> list[Path]:
    return [
        file
        for name in ("libstdc++", "libgcc_s", "libc", "libm")
        for file in Path("/usr/lib").glob(f"*/{name}.so.[0-9]")
    ]


def _run(*command: object) -> str:
    return subprocess.run([*map(str, command)], check=True, capture_output=True, text=True).stdout  # noqa: S603


def _needed(file: Path) -> list[str]:
    lines = _run("readelf", "-dW", file).splitlines()
    return [line.partition("[")[2].rstrip("]") for line in lines if "(NEEDED)" in line]


def _undefined(file: Path) -> list[Symbol]:
    lines = _run("nm", "-D", "--undefined-only", "--with-symbol-versions", file).splitlines()
    return [_symbol(line.split()[-1]) for line in lines]


def _defined(file: Path) -> dict[Symbol, str]:
    """The symbols that a library has, each with nm's letter for its kind."""
    lines = [line.split() for line in _run("nm", "-D", "--defined-only", "--with-symbol-versions", file).splitlines()]
    return {_symbol(parts[-1]): parts[-2] for parts in lines}


def _symbol(text: str) -> Symbol:
    name, _, version = text.partition("@")
    return name, version.lstrip("@")


def _stand_in(file: Path, symbols: dict[Symbol, str]) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        source, output, script = (Path(temporary) / name for name in ("s.s", "s.o", "s.map"))
        texts = [_template(name, kind).format(name=name) for (name, _), kind in symbols.items()]
        source.write_text("".join(texts) + '\n    .section .note.GNU-stack,"",@progbits\n')
        script.write_text(_version_script(symbols))
        _run("as", "-o", output, source)
        versions = ["--version-script", script] if script.stat().st_size else []
        _run("ld", "-shared", "-soname", file.name, *versions, "-o", file, output)


def _template(name: str, kind: str) -> str:
    if name in REFERENCES:
        return REFERENCE
    return FUNCTION if kind in "TWi" else DATA


def _version_script(symbols: Iterable[Symbol]) -> str:
    """The loader complains on every start about a library without the versions that others ask for."""
    nodes: dict[str, list[str]] = {}
    for name, version in symbols:
        if version:
            nodes.setdefault(version, []).append(f"{name};")
    return "".join(f"{version} {{ global: {' '.join(names)} }};\n" for version, names in nodes.items())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
