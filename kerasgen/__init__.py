"""kerasgen: generative image models for Keras 3, and export that is proven equal.

The rooms are imported when used: `kerasgen.models`, `kerasgen.data`, `kerasgen.samplers`,
`kerasgen.export`, `kerasgen.networks`, `kerasgen.layers`, `kerasgen.losses`.
"""

__version__ = "0.1.0"
