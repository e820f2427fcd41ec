"""Read off the model, before the chapters run, what they share."""

from elkutils import study
from elkutils.models import load_model


def main() -> None:
    model = load_model()
    for name in study.MAKERS:
        print(f"activations of {name}", flush=True)
        study.read(model, name, study.seeds()[0])
    print("the model's own answers and log-probabilities", flush=True)
    study.rivals(model, study.rival_seeds()[0])
    for seed in study.persona_seeds():
        print(f"activations of persona {seed}", flush=True)
        study.read_persona(seed)


if __name__ == "__main__":
    main()
