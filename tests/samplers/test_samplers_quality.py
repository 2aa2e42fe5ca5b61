"""What samplers are worth on a VAE of real digits, on one seed; `benchmarks/samplers_digits.py` measures five."""

import pytest
import samplers_digits


@pytest.mark.slow
def test_the_tree_knows_the_latents_better_and_makes_what_was_asked_for():
    seed = 0
    vae, train, test = samplers_digits.trained(seed)
    found = samplers_digits.likelihoods(vae, train, test, seed)
    rows = samplers_digits.recognized(vae, train, test, seed)
    print(f"\n{found}\n{rows}")
    assert found["decision_tree"] <= min(found["gaussian_mixture"], found["class_gaussian"]) - 0.2
    assert rows["decision_tree"][0] >= 0.80
    # The task is as hard as it was: the prior's pictures are right by chance.
    assert rows["prior"][0] <= 0.3
    # Its pictures are not copies: they lie about as far from the training digits as real test digits do.
    assert rows["decision_tree"][1] >= 0.8 * rows["real"][1]
