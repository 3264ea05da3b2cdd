"""Write the man pages of the commands and of the Python functions from their own signatures and docstrings.

python man/generate.py           write man/man1/*.1 and man/man3/*.3
python man/generate.py --check   list the pages that are stale, and exit with status 1 if there are any
"""

import inspect
import re
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from typer.main import get_command

import sdfkit
from sdfkit import api, errors
from sdfkit.cli import STAGES, app

FOLDER = Path(__file__).parent / "man1"
FUNCTIONS = Path(__file__).parent / "man3"


def escape(text: str) -> str:
    """Escape text for roff: its characters can be copied from the page, and no line is taken for a request."""
    for letter, escaped in (
        ("\\", "\\e"),
        ("-", "\\-"),
        ("'", "\\(aq"),
        ("`", "\\(ga"),
        ("^", "\\(ha"),
        ("~", "\\(ti"),
    ):
        text = text.replace(letter, escaped)
    return "\n".join(f"\\&{line}" if line.startswith(".") else line for line in text.splitlines())


def split_help(command: Any) -> tuple[str, list[str], str]:
    """A command's help as its first sentence, its paragraphs and its examples."""
    first, *paragraphs = (command.help or "").split("\n\n")
    examples = ""
    if paragraphs and paragraphs[-1].startswith("\b\nExamples:\n"):
        examples = "\n".join(line[2:] for line in paragraphs.pop().splitlines()[2:])
    return " ".join(first.split()), paragraphs, examples


def write_title(name: str, summary: str, section: int = 1) -> Iterator[str]:
    yield '.\\" Written by man/generate.py; edit the command instead.'
    # Without a date: the same commands give the same bytes.
    yield f'.TH {escape(name.upper())} {section} "" "sdfkit {sdfkit.__version__}" "sdfkit manual"'
    yield ".nh"
    yield ".SH NAME"
    yield f"{escape(name)} \\- {escape(summary[:1].lower() + summary[1:].rstrip('.'))}"


def write_parameters(command: Any, context: Any) -> Iterator[str]:
    """Arguments and options, with the text that --help shows."""
    for title, kind in (("ARGUMENTS", "argument"), ("OPTIONS", "option")):
        parameters = [p for p in command.get_params(context) if p.param_type_name == kind and not p.hidden]
        if parameters:
            yield f".SH {title}"
        for parameter in parameters:
            names, text = parameter.get_help_record(context)
            yield ".TP"
            yield f"\\fB{escape(names)}\\fR"
            yield escape(text)


def write_exits() -> Iterator[str]:
    yield ".SH EXIT STATUS"
    classes = (errors.UsageError, errors.InputError, errors.GeometryError, errors.MissingError)
    known = {error.status: (error.__doc__ or "").splitlines()[0] for error in classes}
    known |= {
        0: "Done.",
        1: "The system refuses, or a bug in sdfkit.",
        130: "Interrupted.",
        141: "The reader of the output closed the pipe.",
    }
    for status, meaning in sorted(known.items()):
        yield f".TP\n{status}\n{escape(meaning)}"


def write_command(name: str, command: Any) -> str:
    """The page of one subcommand."""
    context = command.context_class(command, info_name=f"sdfkit {name}")
    summary, paragraphs, examples = split_help(command)
    lines = [*write_title(f"sdfkit-{name}", summary)]
    lines += [
        ".SH SYNOPSIS",
        f".B sdfkit {escape(name)}",
        escape(" ".join(command.collect_usage_pieces(context))),
    ]
    lines += [".SH DESCRIPTION", escape(summary)]
    for paragraph in paragraphs:
        is_verbatim = paragraph.startswith("\b")
        lines += [
            ".PP",
            *[".nf"] * is_verbatim,
            escape(paragraph.removeprefix("\b\n")),
            *[".fi"] * is_verbatim,
        ]
    lines += write_parameters(command, context)
    if examples:
        lines += [".SH EXAMPLES", ".nf", escape(examples), ".fi"]
    lines += [*write_exits(), ".SH SEE ALSO", ".BR sdfkit (1),", ".BR sdfkit\\-store (5)"]
    return "\n".join(lines) + "\n"


def read_titles() -> list[str]:
    """Titles of the tutorials, in their order."""
    pages = (Path(__file__).parents[1] / "examples/tutorials").glob("[0-9]*.md")
    return [page.read_text(encoding="utf-8").splitlines()[0].removeprefix("# ") for page in sorted(pages)]


def write_program(program: Any) -> str:
    """The page of sdfkit itself, which lists the subcommands."""
    context = program.context_class(program, info_name="sdfkit")
    lines = [*write_title("sdfkit", program.help)]
    lines += [".SH SYNOPSIS", ".B sdfkit", escape("[OPTIONS] COMMAND [ARGS]...")]
    lines += [".SH DESCRIPTION", escape(program.help)]
    lines += [
        ".PP",
        escape("Without an input, a command reads standard input; without -o, it writes to standard output."),
        escape(
            "Meshes pass through pipes as PLY after PLY, arrays as one zip archive that holds a Zarr store"
        ),
        "(see",
        ".BR sdfkit\\-store (5)).",
        "Messages go to standard error.",
        ".PP",
        escape(
            "The same command run again on a finished output ends with status 0 and changes nothing. In a pipe, all "
            "commands compute again, because what comes is known only when it has come, and the last one compares its "
            "output with the one that is there; where that takes long, save the stages to stores."
        ),
        ".SH URLS",
        escape(
            "Wherever a store, a mesh or a folder of meshes is meant, a URL such as s3://bucket/x.zarr or "
            "s3://bucket/raw/ may be given; install sdfkit[cloud]. Stores are read and written in place; a "
            "command that is interrupted continues after the last row that it wrote, as in a folder. Other "
            "files are copied to temporary files to be read; give a mesh that refers to others by its folder, "
            "and manifests for labels only. Each mesh that is written appears when it is whole; with "
            "--overwrite, an interrupted run that writes meshes begins anew. At a URL nothing can be locked: "
            "run one command at a time for an output. A second run of the same command stops the first. The "
            "server must show each object as soon as it is written, as S3, Google Cloud Storage and MinIO do. "
            "Pages, pictures and tables are written to paths on this machine only."
        ),
        ".SH SEVERAL PROCESSES",
        escape(
            "fit-mlp and the commands that begin with train- run in several processes if torchrun starts them:"
        ),
        ".PP",
        ".nf",
        escape(
            "  torchrun --nproc-per-node 4 -m sdfkit train-dit features.zarr --codes deepsdf.zarr -o dit.zarr"
        ),
        ".fi",
        ".PP",
        escape(
            "Each process computes a part of each batch, or for fit-mlp some of the batches; the result is that "
            "of one process, apart from rounding. All processes read the inputs at the same paths, not from "
            "pipes. The first one writes the output, shows progress and reports. If a process ends, all others "
            "end, and the same command continues from the last saved state (fit-mlp: after the last shapes that "
            "were written), with any number of processes."
        ),
        ".SH COMMANDS",
    ]
    for stage, names in STAGES.items():
        lines += [f".SS {escape(stage)}"]
        for name in names:
            lines += [
                ".TP",
                f".BR sdfkit\\-{escape(name)} (1)",
                escape(split_help(program.commands[name])[0]),
            ]
    lines += [*write_parameters(program, context), *write_exits()]
    lines += [".SH TUTORIALS", "In the folder examples/tutorials of the source distribution and repository:"]
    for number, title in enumerate(read_titles(), 1):
        lines += [f".IP {number}.", escape(title)]
    lines += [".SH SEE ALSO"]
    lines += [".BR sdfkit\\-python (3),", ".BR sdfkit\\-store (5),", ".BR sdfkit\\-cluster (7)"]
    return "\n".join(lines) + "\n"


def write_pages(program: Any) -> dict[str, str]:
    """Every page by its file name."""
    pages = {f"sdfkit-{name}.1": write_command(name, command) for name, command in program.commands.items()}
    return {"sdfkit.1": write_program(program), **pages}


def write_function(name: str) -> Iterator[str]:
    """The section of one function or class: its signature without types, and its docstring."""
    function = getattr(api, name)
    description, *parts = re.split(r"\n\n(Args|Attributes|Returns|Raises):\n", inspect.getdoc(function) or "")
    sections = dict(zip(parts[::2], map(textwrap.dedent, parts[1::2]), strict=True))
    words: list[str] = []
    for parameter in inspect.signature(function).parameters.values():
        words += ["*"] * (parameter.kind is parameter.KEYWORD_ONLY and "*" not in words)
        words.append(str(parameter.replace(annotation=parameter.empty)))
    call = f"{name}({', '.join(words)})" if "Attributes" not in sections else name
    yield f".SS {escape(name)}\n.B {escape(call)}"
    for paragraph in description.split("\n\n"):
        yield f".PP\n{escape(paragraph)}"
    for title, text in sections.items():
        if title == "Returns":
            yield f".PP\nReturns: {escape(' '.join(text.split()))}"
            continue
        for word, meaning in re.findall(r"^(\w+): (.*(?:\n .*)*)", text, re.MULTILINE):
            yield f".TP\n.B {escape(word)}\n{escape(' '.join(meaning.split()))}"


def write_functions() -> str:
    """The page of the functions of `import sdfkit`."""
    text, example = (inspect.getdoc(api) or "").split("\n\nExample:\n")
    summary, *paragraphs = text.split("\n\n")
    lines = [*write_title("sdfkit-python", "Use sdfkit from Python", 3), ".SH SYNOPSIS", ".B import sdfkit"]
    lines += [".SH DESCRIPTION", escape(summary), *(f".PP\n{escape(part)}" for part in paragraphs)]
    lines += [".SH EXAMPLE", ".nf", escape(textwrap.dedent(example)), ".fi", ".SH FUNCTIONS"]
    lines += [line for name in api.__all__ for line in write_function(name)]
    lines += [".SH SEE ALSO", ".BR sdfkit (1),", ".BR sdfkit\\-store (5)"]
    return "\n".join(lines) + "\n"


def find_stale(pages: dict[str, str], folder: Path) -> list[str]:
    """Names of pages that are missing, differ, or describe a command that no longer exists."""
    present = {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*.?")}
    return sorted(name for name in {*pages, *present} if pages.get(name) != present.get(name))


def main(words: list[str]) -> int:
    folders = {FOLDER: write_pages(get_command(app)), FUNCTIONS: {"sdfkit-python.3": write_functions()}}
    stale = [(folder, name) for folder, pages in folders.items() for name in find_stale(pages, folder)]
    if words == ["--check"]:
        if stale:
            names = ", ".join(name for _, name in stale)
            print(f"stale: {names}; run python man/generate.py", file=sys.stderr)
        return bool(stale)
    if words:
        print(__doc__, file=sys.stderr)
        return 2
    for folder, name in stale:
        folder.mkdir(exist_ok=True)
        if name in folders[folder]:
            (folder / name).write_text(folders[folder][name], encoding="utf-8")
        else:
            (folder / name).unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
