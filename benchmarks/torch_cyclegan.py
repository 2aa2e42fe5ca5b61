"""CycleGAN in PyTorch, to compare with: the networks and the training step of the paper's own code, written anew.

Modules are nested so that state dicts have the key names of junyanz/pytorch-CycleGAN-and-pix2pix. Images are NCHW.
"""

import itertools
from collections.abc import Callable

import torch
from torch import nn


def norm_layer(norm: str, channels: int) -> nn.Module:
    return nn.InstanceNorm2d(channels) if norm == "instance" else nn.BatchNorm2d(channels)


class ResnetBlock(nn.Module):
    def __init__(self, width: int, norm: str):
        super().__init__()
        bias = norm == "instance"
        self.conv_block = nn.Sequential(
            nn.ReflectionPad2d(1),
            nn.Conv2d(width, width, 3, bias=bias),
            norm_layer(norm, width),
            nn.ReLU(),
            nn.ReflectionPad2d(1),
            nn.Conv2d(width, width, 3, bias=bias),
            norm_layer(norm, width),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.conv_block(x)


class ResnetGenerator(nn.Module):
    def __init__(self, channels: int = 3, out_channels: int = 3, filters: int = 64, blocks: int = 9, norm="instance"):
        super().__init__()
        bias = norm == "instance"
        layers = [nn.ReflectionPad2d(3), nn.Conv2d(channels, filters, 7, bias=bias), norm_layer(norm, filters)]
        layers.append(nn.ReLU())
        for width in (filters, filters * 2):
            down = nn.Conv2d(width, width * 2, 3, stride=2, padding=1, bias=bias)
            layers += [down, norm_layer(norm, width * 2), nn.ReLU()]
        layers += [ResnetBlock(filters * 4, norm) for _ in range(blocks)]
        for width in (filters * 4, filters * 2):
            up = nn.ConvTranspose2d(width, width // 2, 3, stride=2, padding=1, output_padding=1, bias=bias)
            layers += [up, norm_layer(norm, width // 2), nn.ReLU()]
        layers += [nn.ReflectionPad2d(3), nn.Conv2d(filters, out_channels, 7), nn.Tanh()]
        self.model = nn.Sequential(*layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.model(x)


class UnetBlock(nn.Module):
    """One level of the U-Net around the next; `inner` None is the innermost, `last` what its output goes through."""

    def __init__(
        self,
        outer: int,
        width: int,
        inner: nn.Module | None,
        norm: str,
        channels: int | None = None,
        last: tuple[nn.Module, ...] = (),
    ):
        super().__init__()
        self.outermost = channels is not None
        bias = norm == "instance"
        down = nn.Conv2d(channels or outer, width, 4, 2, 1, bias=bias)
        up_bias = bias or self.outermost
        up = nn.ConvTranspose2d(width if inner is None else 2 * width, outer, 4, 2, 1, bias=up_bias)
        if self.outermost:
            layers = [down, inner, nn.ReLU(), up, nn.Tanh()]
        elif inner is None:
            layers = [nn.LeakyReLU(0.2), down, nn.ReLU(), up, norm_layer(norm, outer)]
        else:
            before = [nn.LeakyReLU(0.2), down, norm_layer(norm, width)]
            layers = [*before, inner, nn.ReLU(), up, norm_layer(norm, outer), *last]
        self.model = nn.Sequential(*layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.model(x) if self.outermost else torch.cat([x, self.model(x)], 1)


class UnetGenerator(nn.Module):
    """pix2pix' generator; `dropout` makes what drops in all levels but the innermost and the four outermost."""

    def __init__(
        self,
        channels: int = 3,
        out_channels: int = 3,
        filters: int = 64,
        levels: int = 8,
        norm: str = "batch",
        dropout: Callable[[], nn.Module] | None = None,
    ):
        super().__init__()
        widths = [filters * min(2**i, 8) for i in range(levels)]
        block = None
        for i in range(levels - 1, 0, -1):
            last = (dropout(),) if dropout and 4 <= i < levels - 1 else ()
            block = UnetBlock(widths[i - 1], widths[i], block, norm, last=last)
        self.model = UnetBlock(out_channels, widths[0], block, norm, channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.model(x)


class PatchGAN(nn.Module):
    def __init__(self, channels: int = 3, filters: int = 64, levels: int = 3, norm: str = "instance"):
        super().__init__()
        layers = [nn.Conv2d(channels, filters, 4, 2, 1), nn.LeakyReLU(0.2)]
        width = filters
        for i in range(1, levels + 1):
            new = filters * min(2**i, 8)
            conv = nn.Conv2d(width, new, 4, 2 if i < levels else 1, 1, bias=norm == "instance")
            layers += [conv, norm_layer(norm, new), nn.LeakyReLU(0.2)]
            width = new
        self.model = nn.Sequential(*layers, nn.Conv2d(width, 1, 4, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.model(x)


class PixelDiscriminator(nn.Module):
    def __init__(self, channels: int = 3, filters: int = 64, norm: str = "instance"):
        super().__init__()
        bias = norm == "instance"
        self.net = nn.Sequential(
            nn.Conv2d(channels, filters, 1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(filters, filters * 2, 1, bias=bias),
            norm_layer(norm, filters * 2),
            nn.LeakyReLU(0.2),
            nn.Conv2d(filters * 2, 1, 1, bias=bias),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.net(x)


class Trainer:
    """The four networks, two Adams, and one training step; `pool_a` and `pool_b` map fakes to what the D sees."""

    def __init__(self, g_a2b, g_b2a, d_a, d_b, lambda_cycle=10.0, lambda_identity=0.5, pool_a=None, pool_b=None):
        self.g_a2b, self.g_b2a, self.d_a, self.d_b = g_a2b, g_b2a, d_a, d_b
        self.lambda_cycle, self.lambda_identity = lambda_cycle, lambda_identity
        self.pool_a, self.pool_b = pool_a or (lambda x: x), pool_b or (lambda x: x)
        options = {"lr": 2e-4, "betas": (0.5, 0.999)}
        self.g_optimizer = torch.optim.Adam(itertools.chain(g_a2b.parameters(), g_b2a.parameters()), **options)
        self.d_optimizer = torch.optim.Adam(itertools.chain(d_a.parameters(), d_b.parameters()), **options)

    def step(self, a: torch.Tensor, b: torch.Tensor) -> dict[str, torch.Tensor]:
        self._discriminators_learn(False)
        fake_b, fake_a = self.g_a2b(a), self.g_b2a(b)
        losses = {
            "adversarial_a2b": (self.d_b(fake_b) - 1).square().mean(),
            "adversarial_b2a": (self.d_a(fake_a) - 1).square().mean(),
            "cycle_a": (self.g_b2a(fake_b) - a).abs().mean(),
            "cycle_b": (self.g_a2b(fake_a) - b).abs().mean(),
        }
        total = losses["adversarial_a2b"] + losses["adversarial_b2a"]
        total = total + self.lambda_cycle * (losses["cycle_a"] + losses["cycle_b"])
        if self.lambda_identity:
            losses["identity_a"] = (self.g_b2a(a) - a).abs().mean()
            losses["identity_b"] = (self.g_a2b(b) - b).abs().mean()
            total = total + self.lambda_cycle * self.lambda_identity * (losses["identity_a"] + losses["identity_b"])
        self.g_optimizer.zero_grad()
        total.backward()
        self.g_optimizer.step()

        self._discriminators_learn(True)
        self.d_optimizer.zero_grad()
        losses["discriminator_a_loss"] = self._discriminator_loss(self.d_a, a, self.pool_a(fake_a.detach()))
        losses["discriminator_b_loss"] = self._discriminator_loss(self.d_b, b, self.pool_b(fake_b.detach()))
        self.d_optimizer.step()
        return {**losses, "generator_loss": total}

    def _discriminator_loss(self, network: nn.Module, real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
        loss = 0.5 * ((network(real) - 1).square().mean() + network(fake).square().mean())
        loss.backward()
        return loss

    def _discriminators_learn(self, learn: bool) -> None:
        for parameter in itertools.chain(self.d_a.parameters(), self.d_b.parameters()):
            parameter.requires_grad_(learn)
