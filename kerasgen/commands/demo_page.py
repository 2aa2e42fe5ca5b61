"""The controls of the demo's page. Imports the extra [demo], so `demo` imports this once it is there."""

from collections.abc import Callable

import gradio
import numpy as np

from kerasgen.commands.player import Player
from kerasgen.errors import UserError

THEME = gradio.themes.Default(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"])
_IN_TURN, _ALL = "all in turn", -1  # None would mean that nothing is chosen
_RANGE = 3.0  # standard deviations of a latent


def demo_page(player: Player) -> gradio.Blocks:
    """Return the page of what a model can do: a tab for each."""
    with gradio.Blocks(title="kerasgen demo", analytics_enabled=False) as page:
        gradio.Markdown(f"# kerasgen: {player.run}")
        if player.directions:
            _picture_tab(player)
            _drawing_tab(player)
        if player.noise is not None:
            _generation_tab(player)
            if player.noise.encodes:
                _latents_tab(page, player, player.noise.latent_dim)
                _interpolation_tab(player)
    return page


def _picture_tab(player: Player) -> None:
    with gradio.Tab("Picture"), gradio.Row():
        with gradio.Column():
            # No mode: the file as it is, with its depth and its transparency.
            given = gradio.Image(
                type="filepath",
                image_mode=None,
                sources=["upload", "webcam", "clipboard"],
                label="Picture",
                elem_id="given",
            )
            direction, button = _direction(player), gradio.Button("Translate", variant="primary")
        _on(button.click, player.translate, [given, direction], _result("Translation"))


def _drawing_tab(player: Player) -> None:
    def translate(drawn: dict[str, str | None] | None, direction: str) -> np.ndarray:
        return player.translate(drawn["composite"] if drawn else None, direction)

    with gradio.Tab("Drawing"), gradio.Row():
        with gradio.Column():
            drawn = gradio.ImageEditor(
                type="filepath",
                format="png",
                sources=["upload"],
                canvas_size=(256, 256),
                brush=gradio.Brush(default_size=6, colors=["#000000", "#ffffff", "#d62728", "#1f77b4", "#2ca02c"]),
                label="Drawing",
            )
            direction, button = _direction(player), gradio.Button("Translate the drawing", variant="primary")
        _on(button.click, translate, [drawn, direction], _result("Translation of the drawing"))


def _generation_tab(player: Player) -> None:
    def generate(n: float, seed: float, sampler: str, temperature: float, label: int | None) -> np.ndarray:
        return player.generate(n, seed, sampler, temperature, None if label == _ALL else label)

    with gradio.Tab("Generate"), gradio.Row():
        with gradio.Column():
            inputs = [
                gradio.Slider(1, 100, 36, step=1, label="Pictures"),
                _seed(),
                gradio.Dropdown(player.samplers, value="prior", label="Sampler"),
                gradio.Slider(0.1, 2, 1, step=0.05, label="Temperature"),
                _label(player, in_turn=True),
            ]
            button = gradio.Button("Generate", variant="primary")
        _on(button.click, generate, inputs, _result("Generated"))


def _latents_tab(page: gradio.Blocks, player: Player, latent_dim: int) -> None:
    with gradio.Tab("Latents"), gradio.Row():
        picture = _result("Decoded")
        with gradio.Column():
            label = _label(player)
            sliders = [gradio.Slider(-_RANGE, _RANGE, 0, step=0.1, label=f"z{i}") for i in range(latent_dim)]
        controls = [label, *sliders]
        moved = [page.load, *(control.change for control in controls)]
        gradio.on(moved, _answering(player.decode), controls, picture, show_progress="hidden", **_ONE_AT_A_TIME)


def _interpolation_tab(player: Player) -> None:
    with gradio.Tab("Interpolate"), gradio.Row():
        with gradio.Column():
            ends = [
                gradio.Image(
                    type="filepath", image_mode=None, height=200, label=f"{end}: without one, it is generated"
                )
                for end in ("First picture", "Last picture")
            ]
            inputs = [*ends, gradio.Slider(2, 16, 8, step=1, label="Steps"), _seed(), _label(player)]
            button = gradio.Button("Interpolate", variant="primary")
        _on(button.click, player.interpolate, inputs, _result("On the way"))


def _direction(player: Player) -> gradio.Radio:
    several = len(player.directions) > 1
    return gradio.Radio(player.directions, value=player.directions[0], label="Direction", visible=several)


def _seed() -> gradio.Number:
    return gradio.Number(0, precision=0, minimum=0, maximum=2**31 - 1, label="Seed")


def _label(player: Player, in_turn: bool = False) -> gradio.Dropdown:
    """Return what chooses a class by its name and tells its number; a model that knows none doesn't show it."""
    classes = [(name, i) for i, name in enumerate(player.class_names)]
    choices = [(_IN_TURN, _ALL), *classes] if in_turn else classes
    value = choices[0][1] if classes else None
    return gradio.Dropdown(choices if classes else [], value=value, label="Label", visible=bool(classes))


def _result(label: str) -> gradio.Image:
    # The label would lie on the picture: it is the name that programs find it by.
    name = label.lower().replace(" ", "-")
    return gradio.Image(
        show_label=False, elem_id=name, format="png", interactive=False, buttons=["download", "fullscreen"]
    )


_ONE_AT_A_TIME = {"concurrency_id": "model", "concurrency_limit": 1}  # a network takes all cores, and much memory


def _on(event: Callable[..., object], method: Callable[..., np.ndarray], inputs: list, output: gradio.Image) -> None:
    event(_answering(method), inputs, output, **_ONE_AT_A_TIME)


def _answering(method: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    """Show a user's mistake on the page as its sentence."""

    def answer(*given: object) -> np.ndarray:
        try:
            return method(*given)
        except UserError as error:
            raise gradio.Error(str(error), print_exception=False) from error

    return answer
