"""What the site has besides the pages here: the reference, the command line, and pages that live elsewhere.

`mkdocs` calls these functions. Nothing here imports TensorFlow: the reference is read off the source.
"""

import ast
import re
import tempfile
from pathlib import Path

import typer
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.plugins import event_priority
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from typer.core import TyperCommand, TyperGroup, TyperOption

ROOT = Path(__file__).parents[1]
# Pages that stand elsewhere in the repository.
ELSEWHERE = {
    "results.md": "benchmarks/README.md",
    "phone.md": "examples/phone/README.md",
    "contributing.md": "CONTRIBUTING.md",
    "security.md": "SECURITY.md",
    "changelog.md": "CHANGELOG.md",
}
# A page of the reference: its title, and the modules whose public names it holds.
REFERENCE = {
    "models": ("Models", ["models", "models.declarations", "models.batches"]),
    "data": ("Data", ["data", "data.augmentation", "data.degradations", "data.balance"]),
    "samplers": ("Samplers", ["samplers"]),
    "metrics": ("Metrics", ["metrics"]),
    "networks": ("Networks, layers, losses", ["networks", "layers", "losses"]),
    "training": (
        "Training",
        [
            f"training.{n}"
            for n in ("callbacks", "progress", "watching", "checkpoints", "distribute", "health", "schedules")
        ],
    ),
    "export": ("Export", ["export", "export.serving"]),
    "serving": ("Serving", ["serve", "serve.client"]),
    "commands": (
        "Commands from Python",
        [
            f"commands.{name}"
            for name in (
                "train",
                "distill",
                "options",
                "generate",
                "translate",
                "evaluate",
                "ship",
                "quickstart",
                "card",
                "interpolate",
                "page",
                "report",
                "compare",
                "demo",
                "player",
            )
        ]
        + ["commands.torch_import"],
    ),
    "runs": ("Runs, presets, drawing", ["runs", "presets", "drawing", "errors"]),
}
# A new room gets its place by itself.
_listed = {module.partition(".")[0] for _, modules in REFERENCE.values() for module in modules}
REFERENCE["runs"][1].extend(
    path.parent.name
    for path in sorted((ROOT / "kerasgen").glob("*/__init__.py"))
    if path.parent.name not in _listed and "__all__" in path.read_text()
)
_temporary = []  # lives as long as the build


def source_of(module: str) -> Path:
    """Return the file of kerasgen.MODULE; export/ lies beside kerasgen/, not in it."""
    parts = module.split(".")
    path = ROOT.joinpath(*(parts if parts[0] == "export" else ["kerasgen", *parts]))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def public_names(module: str) -> list[str]:
    """Return what a module lists in `__all__`, else its classes and functions without an underscore."""
    body = ast.parse(source_of(module).read_text()).body
    for node in body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == "__all__":
            return ast.literal_eval(node.value)
    return [n.name for n in body if isinstance(n, ast.ClassDef | ast.FunctionDef) and not n.name.startswith("_")]


def reference_page(title: str, modules: list[str]) -> str:
    """One page: each module, and what mkdocstrings makes of each of its names."""
    text = [f"# {title}"]
    for module in modules:
        about = ast.get_docstring(ast.parse(source_of(module).read_text())) or ""
        text += [f"## kerasgen.{module}", about.partition("\n\n")[0]]
        text += [f"::: kerasgen.{module}.{name}" for name in public_names(module)]
    return "\n\n".join(text)


def command_pages(command: TyperCommand | TyperGroup, path: str) -> list[str]:
    """Return the command and those below it, each with a table of its arguments and options."""
    if isinstance(command, TyperGroup) and not command.params:
        return [text for name, sub in command.commands.items() for text in command_pages(sub, f"{path} {name}")]
    rows = []
    for parameter in command.params:
        option = isinstance(parameter, TyperOption)
        name = (
            ", ".join(f"`{n}`" for n in (*parameter.opts, *parameter.secondary_opts))
            if option
            else (f"`{parameter.name.upper()}`")
        )
        default = parameter.default if option and not parameter.required else None
        shown = "" if default is None or callable(default) or default in (False, "") else f" Default: `{default}`."
        needed = " Required." if parameter.required else ""
        rows.append(f"| {name} | {(parameter.help or '').replace('|', chr(92) + '|')}{needed}{shown} |")
    text = [
        f"## {path}\n\n{command.help or ''}\n\n| argument or option | what it is |\n|---|---|\n" + "\n".join(rows)
    ]
    if isinstance(command, TyperGroup):
        text += [page for name, sub in command.commands.items() for page in command_pages(sub, f"{path} {name}")]
    return text


def command_line() -> str:
    """Return the page of all commands, read off the command line itself."""
    from kerasgen.cli import app

    about = "Every command and option, as `kerasgen COMMAND --help` says them too."
    return "\n\n".join(
        [
            "---\nsearch:\n  boost: 4\n---",
            "# Command line",
            about,
            *command_pages(typer.main.get_command(app), "kerasgen"),
        ]
    )


def linked(text: str, folder: str, up: str = "") -> str:
    """Return a page from FOLDER of the repository with links as they are in the site; others become plain text.

    UP leads from the page's place in the site to its top.
    """
    pages = {path: page for page, path in ELSEWHERE.items()}

    def link(match: re.Match[str]) -> str:
        image, label, target = match.groups()
        path, _, anchor = target.partition("#")
        if "://" in target or not path:
            return match.group(0)
        wanted = (ROOT / folder / path).resolve().relative_to(ROOT).as_posix()
        if wanted.startswith("docs/"):
            return f"{image}[{label}]({up}{wanted.removeprefix('docs/')}{'#' + anchor if anchor else ''})"
        if wanted in pages:
            return f"[{label}]({up}{pages[wanted]}{'#' + anchor if anchor else ''})"
        return label

    return re.sub(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)", link, text)


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Link the pages here as those are that are made, whose links are right already."""
    if page.file.generated_by is not None:
        return markdown
    folder = Path("docs", page.file.src_uri).parent
    return linked(markdown, folder.as_posix(), "../" * (len(folder.parts) - 1))


@event_priority(100)
def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Lay the two packages out as they are imported, where mkdocstrings reads them; list the cards."""
    _temporary.append(tempfile.TemporaryDirectory())
    package = Path(_temporary[-1].name, "kerasgen")
    package.mkdir()
    for path in (ROOT / "kerasgen").iterdir():
        (package / path.name).symlink_to(path)
    (package / "export").symlink_to(ROOT / "export")
    config.plugins["mkdocstrings"].config.handlers["python"]["paths"] = [str(package.parent)]
    results = next(place for place, item in enumerate(config.nav) if "Results" in item)
    config.nav[results : results + 1] = [
        {"Trained presets": [{path.parent.name: f"zoo/{path.parent.name}.md"} for path in cards()]},
        *config.nav[results : results + 1],
    ]
    return config


def cards() -> list[Path]:
    """Return the card of each preset that comes with weights."""
    return sorted((ROOT / "saved_models").glob("*/README.md"))


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made."""

    def add(page: str, text: str) -> None:
        files.append(File.generated(config, page, content=text))

    for page, path in ELSEWHERE.items():
        head = "---\nsearch:\n  exclude: true\n---\n\n" if page == "changelog.md" else ""
        add(page, head + linked((ROOT / path).read_text(), str(Path(path).parent)))
    for path in cards():
        add(f"zoo/{path.parent.name}.md", path.read_text().replace("(strip.png)", f"({path.parent.name}.png)"))
        strip = path.with_name("strip.png")
        files.append(File.generated(config, f"zoo/{path.parent.name}.png", abs_src_path=str(strip)))
    for name, (title, modules) in REFERENCE.items():
        add(f"reference/{name}.md", reference_page(title, modules))
    add("reference/cli.md", command_line())
    return files
