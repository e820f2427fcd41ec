"""Extract, before the chapters run, the activations that they share."""

from tqdm import tqdm

from elkutils import study
from elkutils.models import load_model


def main() -> None:
    model = load_model()
    jobs = [(name, seed) for name in study.MAKERS for seed in study.seeds()]
    for name, seed in tqdm(jobs, desc="activations", unit="task"):
        study.read(model, name, seed)


if __name__ == "__main__":
    main()
