"""Extract, before the chapters run, the activations that they share."""

from elkutils import study
from elkutils.models import load_model


def main() -> None:
    model = load_model()
    for name in study.MAKERS:
        print(f"activations of {name}", flush=True)
        study.read(model, name, seed=0)


if __name__ == "__main__":
    main()
