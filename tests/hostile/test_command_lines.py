"""Wrong command lines: 184 of them; none may begin any work."""

import pytest

from .conftest import GOLDEN, Attack

RUN, GAN = str(GOLDEN / "vae_run"), str(GOLDEN / "cyclegan_run")
OUT = ("--output", "{}/out")
TRAIN, GENERATE = ("train", "vae_digits", *OUT), ("generate", RUN, *OUT)
EVALUATE, EXPORT = ("evaluate", RUN, "--output", "{}/out.json"), ("export", RUN, *OUT, "--format", "onnx")
INTERPOLATE = ("interpolate", RUN, "--from", "{}/foreign/.tmp-mine", "--to", "{}/foreign/.tmp-mine", *OUT)
TRANSLATE = ("translate", GAN, "--input", "{}/foreign", *OUT)
SERVE, CLIENT = ("serve", "{}/foreign"), ("translate", "{}/foreign", "--model", "m", *OUT)
NOT_WHOLE = ("-1", "0", "1.5", "nan", "99999999999", "1e9", "x", "", " ", "٣٣٣٣٣٣٣٣")
NOT_NUMBERS = ("nan", "inf", "-inf", "-1", "0", "x", "")

# By command: each option with values that it can't take.
WRONG = {
    TRAIN: {
        "--epochs": NOT_WHOLE,
        "--batch-size": NOT_WHOLE[:6],
        "--keep": NOT_WHOLE[:3],
        "--checkpoint-steps": NOT_WHOLE[:3],
        "--seed": ("-1", "1.5", "99999999999", "x"),
        "--strategy": ("", "two", "\x1b[31m"),
        "--precision": ("int8", "float16"),
        "--data": ("", "digit", "folder:", "folder:/nowhere", "folder:\n", "digits:x", "tfds:../..", "x" * 5000),
        "--data-a": ("digits",),
        "--monitor": ("nothing", ""),
        "--image-size": ("0", "-3", "1000000"),
        "--learning-rate": ("nan", "inf", "-1", "x"),
        "--set": ("latent_dim", "latent_dim=0", "nonsense=1", "=", "beta=nan", "latent_dim=x", "beta=" + "[" * 10**5),
    },
    GENERATE: {
        "--n": NOT_WHOLE,
        "--seed": ("-1", "99999999999", "x"),
        "--temperature": NOT_NUMBERS,
        "--label": ("-1", "10", "99999999999", "x", "1.5"),
        "--where": ("x", "label", "label=x", "=1", "label=1 & label=2", "age=3"),
        "--sampler": ("", "none", "Prior"),
    },
    EVALUATE: {
        "--k": ("0", "-1", "99999999999", "x"),
        "--sampler": ("none", ","),
        "--features": ("/nowhere", "{}/foreign"),
        "--seed": ("-1",),
    },
    EXPORT: {
        "--size": ("0", "-1", "1000000", "1.5", "x"),
        "--format": ("pb", ",", ""),
        "--variant": ("int3", ""),
        "--range": ("=-inf,inf", "=1", "=1,0", "=nan,1", "=0,1,2", "=x"),
        "--opset": ("x",),
        "--layout": ("hwc",),
        "--images": ("/nowhere", "{}/foreign"),
    },
    TRANSLATE: {
        "--direction": ("ab", "", "A2B"),
        "--input": ("/nowhere", "{}"),
        "--memory": ("9" * 400 + "GB", "0", "nanGB", "-1GB"),
    },
    INTERPOLATE: {"--steps": (*NOT_WHOLE[:5], "1")},
    SERVE: {
        "--rest-port": ("-1", "99999", "x"),
        "--grpc-port": ("-1", "99999", "1.5"),
        "--megapixels": ("nan", "inf", "-1", "0"),
    },
}
ALONE = (
    ("train",),
    ("train", "nothing", *OUT),
    ("train", "vae_digits"),
    ("train", "vae_digits", "--output", ""),
    ("train", "vae_digits", "--output="),
    ("train", "vae_digits", "--output", "{}/foreign/.tmp-mine"),
    ("train", "vae_digits", "--output", "/proc/x"),
    ("train", "cyclegan_resnet_9", *OUT),
    (*TRAIN, "--resume"),
    (*TRAIN, "--nonsense"),
    (*GENERATE, "--sampler", "posterior", "--data", "nowhere"),
    (*GENERATE, "--sampler", "posterior", "--data", "folder:/nowhere"),
    ("generate", "/nowhere", *OUT),
    ("generate", GAN, *OUT),
    ("generate", RUN, "--output", "{}/foreign/.tmp-mine"),
    ("generate", RUN + "\n", *OUT),
    ("translate", RUN, "--input", "{}/foreign", *OUT),
    ("translate", GAN, "--input", "{}/foreign", "--output", "{}/foreign/out"),
    ("export", RUN),
    ("export", "{}/foreign", *OUT),
    ("verify", "{}/foreign/.tmp-mine", "--against", RUN),
    ("verify", "/nowhere", "--against", RUN),
    ("benchmark", "/nowhere"),
    ("import-torch", "/nowhere", "--output", "{}/x.keras"),
    ("import-torch", "{}/foreign/.tmp-mine", "--output", "{}/x"),
    ("serve", "/nowhere"),
    ("serving", "list", "/nowhere"),
    ("serving", "rollback", "/nowhere", "x"),
    ("serving", "label", "{}/foreign", "x", "../y", "1"),
    ("client", "http://[::1", *CLIENT),
    ("client", "http://127.0.0.1:99999", *CLIENT),
    ("client", "http://127.0.0.1", *CLIENT),
    ("client", "ftp://127.0.0.1:80", *CLIENT),
    ("client", "", *CLIENT),
    ("distill", GAN, *OUT, "--sweep", "filters=" + "[" * 10**5),
    ("quickstart", "--model", "gan", *OUT),
    ("quickstart", *OUT, "--epochs", "0"),
    ("nonsense",),
    ("--nonsense",),
    ("",),
)


def attacks() -> list[Attack]:
    lines = [
        (*command, f"{option}{value}") if value.startswith("=") and option == "--range" else (*command, option, value)
        for command, options in WRONG.items()
        for option, values in options.items()
        for value in values
    ]
    return [Attack(" ".join(line).replace(str(GOLDEN), "…")[:150], line) for line in (*lines, *ALONE)]


@pytest.mark.slow
def test_each_gets_a_sentence(judged):
    tried = attacks()
    assert len(tried) >= 120
    faults = judged(tried)
    assert not faults, "\n".join(faults)
