"""Show what stands under `Example:` in a docstring as Python, with its colors; mkdocstrings loads this."""

import re
import textwrap

import griffe


class ExamplesAsCode(griffe.Extension):
    """Put a fence around each example before the docstring is taken apart."""

    def on_object(self, *, obj: griffe.Object, **_: object) -> None:
        """Change the docstring of a module, class or function that was just read."""
        if obj.docstring is not None:
            obj.docstring.value = re.sub(
                r"^Example:\n((?:    .*\n?|\n)+)",
                lambda match: f"**Example:**\n\n```python\n{textwrap.dedent(match[1]).strip()}\n```\n\n",
                obj.docstring.value,
                flags=re.MULTILINE,
            )
