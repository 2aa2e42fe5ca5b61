"""What models share that have one network to train, and perhaps a discriminator of what it makes."""

import keras

from kerasgen.models.base import GenerativeModel
from kerasgen.models.gradients import paper_adam, prepared
from kerasgen.typing import Config


class Discriminated(GenerativeModel):
    """A model of two optimizers: the usual one, and the discriminator's where there is one.

    Attributes:
        discriminator: None if none is trained.
    """

    discriminator: keras.Model | None

    @property
    def generator_variables(self) -> list[keras.Variable]:
        """What the first optimizer updates."""
        raise NotImplementedError(f"{type(self).__name__} doesn't say what it trains beside its discriminator.")

    def new_optimizer(self) -> keras.optimizers.Optimizer:
        """Return what `compile` takes by itself: Adam with pix2pix' learning rate 2e-4 and beta_1 0.5."""
        return paper_adam()

    def new_discriminator_optimizer(self) -> keras.optimizers.Optimizer:
        """Return the discriminator's, the same by default."""
        return paper_adam()

    def compile(  # type: ignore[override]  # its optimizers have names, and its losses are its own
        self,
        optimizer: keras.optimizers.Optimizer | None = None,
        discriminator_optimizer: keras.optimizers.Optimizer | None = None,
        **kwargs: Config,
    ) -> None:
        """Set the optimizers; left out, they are `new_optimizer` and `new_discriminator_optimizer`."""
        super().compile(optimizer=optimizer or self.new_optimizer(), **kwargs)
        self.optimizer.build(self.generator_variables)
        self.discriminator_optimizer = None
        if self.discriminator is not None:
            given = discriminator_optimizer or self.new_discriminator_optimizer()
            self.discriminator_optimizer = prepared(given, self.discriminator.trainable_variables)

    @property
    def optimizers(self) -> list[keras.optimizers.Optimizer]:
        if not self.compiled:
            return []
        return [o for o in (self.optimizer, self.discriminator_optimizer) if o is not None]

    @property
    def networks_run_again(self) -> bool:
        return self.discriminator is not None

    def get_compile_config(self) -> dict[str, Config] | None:
        if not self.compiled:
            return None
        found = {"optimizer": self.optimizer, "discriminator_optimizer": self.discriminator_optimizer}
        optimizers = {name: keras.saving.serialize_keras_object(o) for name, o in found.items() if o is not None}
        return {**optimizers, "gradient_accumulation_steps": self._accumulation_steps, **self.frozen_config()}

    def compile_from_config(self, config: dict[str, Config]) -> None:
        config = self.frozen_again(config)
        self.compile(**{name: keras.saving.deserialize_keras_object(value) for name, value in config.items()})
