"""What a format says of itself, as data: its variants, its options, what it needs. Fresh processes read it too."""

import importlib.util
import re
import unicodedata
from dataclasses import dataclass


@dataclass(frozen=True)
class Variant:
    """One way in which a format stores a network's weights.

    Attributes:
        name: such as "float16"; "float32" is the form that every other variant is made from.
        share: the bytes that a weight needs, compared with float32.
        least_psnr: in dB, how near to the float32 form it must stay; None for float32 itself.
        calibrated: whether it measures activations on real inputs.
    """

    name: str
    share: float = 1.0
    least_psnr: float | None = None
    calibrated: bool = False

    @property
    def rounded(self) -> bool:
        """Tell whether the variant is made from the float32 form by rounding."""
        return self.least_psnr is not None


@dataclass(frozen=True)
class Option:
    """One thing that a user may choose for a format: a keyword of `export_model`, and `--NAME` of `kerasgen export`.

    Attributes:
        name: of the keyword.
        type: of its value.
        help: one line for the command line.
        choices: the values that it may have; empty for any.
    """

    name: str
    type: type[str] | type[int]
    help: str
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Format:
    """One export format.

    Attributes:
        title: what people call it.
        suffix: of its artifacts, a file or a folder.
        variants: float32 first.
        options: what a user may choose.
        modules: the Python modules that writing and running it needs.
        extra: the extra of kerasgen that installs them; None where they come with kerasgen itself.
        packages: the distributions whose versions the manifest records.
        names: a regular expression that each tensor's name must match; others are changed.
        reserved: names that no tensor can have though they match.
        one_example: whether an artifact takes one example at a time.
        several_signatures: whether an artifact offers more than `serving_default`.
        most_weight_bytes: compared with the weights' own, what the float32 form may hold; None for any.
        crash: what is known of crashes of its runtime, and the way around, for the sentence about one.
    """

    title: str
    suffix: str
    variants: tuple[Variant, ...]
    options: tuple[Option, ...] = ()
    modules: tuple[str, ...] = ()
    extra: str | None = None
    packages: tuple[str, ...] = ()
    names: str = r"[A-Za-z0-9]\w*"
    reserved: tuple[str, ...] = ()
    one_example: bool = False
    several_signatures: bool = False
    most_weight_bytes: float | None = None
    crash: str = ""

    @property
    def variant_names(self) -> tuple[str, ...]:
        """Return the names of the variants, float32 first."""
        return tuple(variant.name for variant in self.variants)

    def variant(self, name: str) -> Variant:
        """Return the variant of a name that `variant_names` has."""
        return next(variant for variant in self.variants if variant.name == name)

    def legal(self, name: str, kind: str) -> str:
        """Return a tensor's name, or the nearest one that the format can have; `kind` is "input" or "output"."""
        if re.fullmatch(self.names, name, re.ASCII) and name not in self.reserved:
            return name
        letters = [c for c in unicodedata.normalize("NFKD", name) if not unicodedata.combining(c)]
        plain = re.sub(r"\W", "_", "".join(letters), flags=re.ASCII)
        plain = plain if re.fullmatch(self.names, plain, re.ASCII) else f"{kind}_{plain}"
        return f"{plain}_" if plain in self.reserved else plain

    def missing(self) -> list[str]:
        """Return the modules that are not installed."""
        return [module for module in self.modules if importlib.util.find_spec(module) is None]

    def available(self) -> bool:
        """Tell whether everything that the format needs is installed."""
        return not self.missing()
