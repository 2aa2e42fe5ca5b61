"""Misuse of the API: each call gets a `UserError`."""

import pytest

from .conftest import GOLDEN, Attack

VAE = f"from kerasgen.runs import load_model\nimport numpy as np\nvae = load_model({str(GOLDEN / 'vae_run')!r})\n"
NEW = "from kerasgen.models import VAE\n"
FLOW = (
    "from kerasgen.models import RectifiedFlow\nimport numpy as np\n"
    "flow = RectifiedFlow((8, 8, 1), filters=(8, 8), hidden_units=8)\n"
)
DATA = "from kerasgen.data import load, open_source, load_unpaired, load_paired\n"
SAMPLERS = "import numpy as np\nfrom kerasgen.samplers import *\n"
CALLS = (
    *(
        VAE + call
        for call in (
            "vae.generate(2.5)",
            "vae.generate(0)",
            "vae.generate(-1)",
            "vae.generate(10**9)",
            "vae.generate('x')",
            "vae.generate(2, seed=-1)",
            "vae.generate(2, seed='x')",
            "vae.generate(2, labels=10)",
            "vae.generate(2, labels=-1)",
            "vae.generate(2, labels=[1, 2, 3])",
            "vae.decode(np.zeros((2, 3)))",
            "vae.decode(np.zeros(12))",
            "vae.encode(np.zeros((2, 3, 3, 1), np.float32))",
            "vae.interpolate(np.zeros((8, 8, 1)), np.zeros((8, 9, 1)))",
            "vae.interpolate(np.zeros((8, 8, 1)), np.zeros((8, 8, 1)), steps=1)",
            "vae.interpolate(np.zeros((8, 8, 1)), np.zeros((8, 8, 1)), steps=2.5)",
        )
    ),
    *(
        FLOW + call
        for call in (
            "flow.sampling_network(steps=0)",
            "flow.sampling_network(steps=2.5)",
            "flow.sampling_network(solver='runge')",
            "flow.log_prob(np.zeros((1, 8, 8, 1)), steps=0)",
            "flow.log_prob(np.zeros((1, 8, 8, 1)), probes=0)",
            "flow.log_prob(np.zeros((1, 8, 8, 1)), probes=2, seed=-1)",
            "flow.log_prob(np.zeros((1, 7, 8, 1)))",
        )
    ),
    *(
        f"{NEW}VAE({arguments})"
        for arguments in (
            "(16, 16, 1), 0",
            "(16, 16, 1), -1",
            "(16, 16, 1), 2.5",
            "(16, 16, 1), None",
            "(16, 16), 4",
            "(0, 16, 1), 4",
            "None, 4",
            "(16, 16, 1), 4, beta=float('nan')",
            "(16, 16, 1), 4, beta=float('inf')",
            "(16, 16, 1), 4, beta=-1",
            "(16, 16, 1), 4, free_bits=float('nan')",
            "(16, 16, 1), 4, sigma=float('nan'), likelihood='gaussian'",
            "(16, 16, 1), 4, num_classes=-1",
            "(16, 16, 1), 4, hidden_units=0",
            "(16, 16, 1), 4, filters=(0,)",
            "(16, 16, 1), 4, seed=-1",
        )
    ),
    *(
        DATA + call
        for call in (
            "load(None)",
            "load(3)",
            "load('')",
            "load('digits', batch_size=0)",
            "load('digits', batch_size=2.5)",
            "load('digits', image_size=0)",
            "load('digits', image_size=10**7)",
            "load('digits', image_size='x')",
            "load('digits', split='none')",
            "load('digits', channels=2)",
            "load('digits', seed=-1)",
            "load_unpaired('digits', None)",
            "load_paired('digits', {'kind': 'nothing'})",
            "load_paired('digits', None)",
        )
    ),
    *(
        SAMPLERS + call
        for call in (
            "PriorSampler(4, temperature=float('inf'))",
            "PriorSampler(4, temperature=float('nan'))",
            "PriorSampler(4).sample(0)",
            "PriorSampler(4).sample(2.5)",
            "PriorSampler().sample(1)",
            "GaussianMixtureSampler().fit(np.full((9, 2), np.nan))",
            "DecisionTreeSampler(min_leaf=0)",
            "load_sampler(None)",
        )
    ),
    *(
        f"from kerasgen.export import ImageSpec\nImageSpec({arguments})"
        for arguments in (
            "size='x'",
            "size=(8,)",
            "size=10**9",
            "multiple=2.5",
            "value_range=3",
            "value_range=(0, float('inf'))",
            "value_range=(0, 1, 2)",
            "pictures='image'",
        )
    ),
    "from kerasgen.runs import load_model\nload_model(None)",
    "from kerasgen.runs import load_model\nload_model('')",
    "from kerasgen.commands.train import train\ntrain('vae_digits', '')",
    "from kerasgen.commands.train import train\ntrain('vae_digits', None)",
    "from kerasgen.commands.train import train\ntrain('vae_digits', '{}/out', seed=-1)",
    "from kerasgen.commands.train import train\ntrain('vae_digits', '{}/out', epochs=1.5)",
    "from kerasgen.files import atomic_write\nwith atomic_write('') as t: pass",
)


@pytest.mark.slow
def test_each_gets_a_sentence(judged):
    assert len(CALLS) >= 40
    faults = judged([Attack(call.splitlines()[-1], code=call) for call in CALLS])
    assert not faults, "\n".join(faults)
