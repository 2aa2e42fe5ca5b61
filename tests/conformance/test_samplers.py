"""Every sampler is fitted, draws, weighs, is saved, and does what it declares."""

import numpy as np
import pytest

from kerasgen.errors import UserError
from kerasgen.models import VAE
from kerasgen.samplers import SAMPLERS as KNOWN
from kerasgen.samplers import load_sampler

from .cases import MODELS, SAMPLERS


@pytest.fixture(scope="module")
def latents():
    """Posteriors and labels of sixteen pictures."""
    case = MODELS[VAE]
    data = {name: np.concatenate([value, value[:, ::-1] if value.ndim > 1 else value]) for name, value in
            case.data().items()}  # fmt: skip
    return case.make().encode(data["image"], data["label"]), data["label"]


def test_every_sampler_has_a_case():
    assert KNOWN.keys() == SAMPLERS.keys()


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_sampler_does_what_it_declares(name, latents, tmp_path):
    posterior, labels = latents
    sampler = KNOWN[name](**SAMPLERS[name].options).fit(posterior, labels)
    samples = sampler.sample(5, seed=1)
    assert samples.z.shape == (5, 2)
    assert np.isfinite(samples.log_prob).all()
    assert len(samples.origin) == 5
    sampler.save(tmp_path / "sampler.npz")
    np.testing.assert_allclose(load_sampler(tmp_path / "sampler.npz").sample(5, seed=1).z, samples.z, atol=1e-6)

    if sampler.knows_labels:
        assert sampler.sample(3, seed=1, where={"label": 2}).z.shape == (3, 2)
    else:
        with pytest.raises(UserError, match="knows no labels"):
            sampler.sample(3, seed=1, where={"label": 2})
    if sampler.needs_data:
        with pytest.raises(UserError, match="fitted to training pictures"):
            KNOWN[name].of_dimension(2)
    else:
        assert KNOWN[name].of_dimension(2, temperature=0.5).sample(3, seed=1).z.shape == (3, 2)
    if sampler.explains:
        sampler.plot(tmp_path / "plot.png", lambda z: np.zeros((len(z), 8, 8, 1)))
        assert (tmp_path / "plot.png").is_file()
    else:
        with pytest.raises(NotImplementedError):
            sampler.plot(tmp_path / "plot.png", lambda z: z)
