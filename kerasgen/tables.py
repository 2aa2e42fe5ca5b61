"""Tables for people, as the command line prints them."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from kerasgen.export import Comparison, Measurement


def print_table(title: str, rows: Mapping[str, str]) -> None:
    """Print names and a text for each."""
    table = Table(title, "")
    for name, text in rows.items():
        table.add_row(name, text)
    _show(table)


def print_report(report: Mapping[str, object]) -> None:
    """Print each part of an evaluation that is a table of numbers, and in which features they were taken."""
    for title, rows in report.items():
        if not isinstance(rows, dict):
            continue
        # A model's own score may be one row of numbers.
        rows = rows if all(isinstance(row, dict) for row in rows.values()) else {title: rows}
        names = list(dict.fromkeys(name for row in rows.values() for name in row))
        table = Table(title, *(name.replace("_", " ") for name in rows))
        for name in names:
            table.add_row(name.replace("_", " "), *(_number(row.get(name)) for row in rows.values()))
        _show(table)
    if "features" in report:
        print(f"Features: {report['features']}")
    if "no_features" in report:
        print(f"No distances in features: {report['no_features']}")


def _number(value: object) -> str:
    return "–" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def print_last(history: Mapping[str, Sequence[float]]) -> None:
    """Print the numbers of a training's last epoch."""
    epochs = len(next(iter(history.values())))
    last = {name: f"{values[-1]:.4g}" for name, values in history.items()}
    print_table(f"After {epochs} {'epoch' if epochs == 1 else 'epochs'}", last)


def print_measurements(rows: "Sequence[Measurement]") -> None:
    """Print what artifacts measure, shortly."""
    table = Table("File", "Size", "Difference", "Latency", caption="largest difference from Keras; batch 1")
    for row in rows:
        table.add_row(row.path.name, f"{row.bytes / 1e6:.2f} MB", _difference(row), f"{row.median_ms:.2f} ms")
    _show(table)


def print_benchmark(rows: "Sequence[Measurement]") -> None:
    """Print all that artifacts measure."""
    caption = "ms: loading, first run, medians with all threads and with one; batch 1; nodes, in pieces of LiteRT"
    table = Table("", "MB", "Load", "First", "Median", "1 thread", "Nodes", "Difference", caption=caption)
    for number, row in enumerate(rows, 1):  # names are long: they stand above the table
        print(f"{number}: {row.path.name}")
        times = (row.load_ms, row.first_ms, row.median_ms, row.single_ms)
        pieces = "" if row.partitions is None else f" in {row.partitions}"
        cells = (f"{row.bytes / 1e6:.2f}", *(f"{ms:.3g}" for ms in times), f"{row.nodes}{pieces}", _difference(row))
        table.add_row(str(number), *cells)
    _show(table)


def _difference(row: "Measurement") -> str:
    return "" if row.max_difference is None else f"{row.max_difference:.1e}"


def print_comparison(compared: "Comparison") -> None:
    """Print how far an artifact's output is from Keras'."""
    table = Table(f"{compared.name}, {len(compared.psnr)} examples", "mean", "worst")
    table.add_row("largest difference", f"{compared.max_abs.mean():.3g}", f"{compared.max_abs.max():.3g}")
    table.add_row("mean difference", f"{compared.mean_abs.mean():.3g}", f"{compared.mean_abs.max():.3g}")
    table.add_row("PSNR in dB", f"{compared.psnr.mean():.1f}", f"{compared.psnr.min():.1f}")
    if compared.ssim is not None:
        table.add_row("SSIM", f"{compared.ssim.mean():.5f}", f"{compared.ssim.min():.5f}")
    _show(table)


def print_grid(head: Sequence[str], rows: Iterable[Sequence[str]], caption: str) -> None:
    """Print rows of texts under a head, and what they are below."""
    table = Table(*head, caption=caption)
    for row in rows:
        table.add_row(*row)
    _show(table)


def print_next(*commands: str) -> None:
    """Print what one can do next, a command a line."""
    print("Next:")
    for command in commands:
        print(f"  {command}")


def print_written(written: int, skipped: int, folder: Path) -> None:
    """Say how many pictures were made, and where they are."""
    pictures = "1 picture is" if written == 1 else f"{written} pictures are"
    print(f"{pictures} in {folder}; {skipped} {'was' if skipped == 1 else 'were'} skipped.")


def _show(table: Table) -> None:
    for column in table.columns:
        if not column.no_wrap:
            column.overflow = "fold"  # rather than letters that are missing
    Console(markup=False).print(table)  # a file's name may look like markup
