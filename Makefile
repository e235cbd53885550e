# Two commands do everything: `make demo` shows yoloscope at work, `make test` runs the tests.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin

ifeq ($(wildcard exporter/yoloscope_exporter/cli.py),)
$(error make is to be called in the folder of this file: `clean` would remove what another folder has by these names)
endif

.DEFAULT_GOAL := help
.PHONY: help demo test field hangs faults fuzz soak long check generate pins bench gpu-kit clean

help: ## What can be made
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/'

# PyTorch is a large download (about 6 GB with CUDA); it happens once.
$(VENV)/.train: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' \
		|| { echo "yoloscope needs Python 3.10 or newer: make PYTHON=python3.12 ..."; exit 2; }
	@test -x $(BIN)/pip || ! test -e $(VENV) \
		|| { echo "$(VENV) has no pip: was it made by uv? python -m ensurepip in it, or move it away"; exit 2; }
	@test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV) \
		|| { rm -rf $(VENV); echo "no venv module: apt-get install python3-venv"; exit 2; }
	@echo "installing yoloscope with PyTorch and Ultralytics into $(VENV) (about 6 GB, once) ..."
	@$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[train]' 2>$(VENV)/pip.log \
		|| { cat $(VENV)/pip.log; exit 1; }
	@touch $@

$(VENV)/.dev: $(VENV)/.train
	@echo "installing the test tools into $(VENV) ..."
	@$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[train,dev]' 2>$(VENV)/pip.log \
		|| { cat $(VENV)/pip.log; exit 1; }
	@touch $@

demo: $(VENV)/.train ## A data-starved run: diagnosed, fixed, compared (about two minutes)
	@$(BIN)/yoloscope demo

# What fails while tests share the machine is tried once more alone; what starves a diagnosed training must be no test.
test: export PATH := $(CURDIR)/$(BIN):$(PATH)
test: $(VENV)/.dev ## The tests
	@$(BIN)/python tests/second_try.py

field: export PATH := $(CURDIR)/$(BIN):$(PATH)
field: $(VENV)/.dev ## Every field case as a real training with its diagnosis, takes hours; leave the machine alone
	@$(BIN)/pytest -m field --no-header tests/field_cases

hangs: export PATH := $(CURDIR)/$(BIN):$(PATH)
hangs: $(VENV)/.dev ## Trainings that hang, each named by rank, function, file and line; takes ten minutes
	@$(BIN)/pytest -m 'hang or not hang' --no-header tests/test_hangs.py

faults: export PATH := $(CURDIR)/$(BIN):$(PATH)
faults: $(VENV)/.dev ## The faults of docs/reliability.md, with processes of two users; as root, takes ten minutes
	@$(BIN)/pytest -m 'faults or not faults' --no-header -p no:cacheprovider -s tests/faults

FUZZ := 100000
LIVES := 500
fuzz: $(VENV)/.dev ## Damaged records and stack files by the hundred thousand, records that lie: make fuzz FUZZ=1000000 LIVES=5000
	@$(BIN)/python -m tests.faults.fuzz $(FUZZ)
	@$(BIN)/python -m tests.faults.values $(LIVES)

CYCLES := 86400
soak: $(VENV)/.dev ## A day's cycles, as fast as they go, with runs, pages and reloads: make soak CYCLES=10000
	@$(BIN)/python -m tests.faults.soak $(CYCLES)

long: export PATH := $(CURDIR)/$(BIN):$(PATH)
long: $(VENV)/.dev ## What the tests leave out for the time it takes: more settings of the same kinds; takes half an hour
	@$(BIN)/pytest -m long --no-header

check: $(VENV)/.dev ## Linters and types
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy

generate: $(VENV)/.dev ## Everything that is generated: documents, dashboards, rules, the kustomize base, the corpus
	@$(BIN)/python -m yoloscope_exporter.catalog.document
	@$(BIN)/python -m yoloscope_exporter.diagnosis.document
	@$(BIN)/python -m dashboards
	@$(BIN)/python -m deploy.prometheus.generate
	@$(BIN)/python -m deploy.helm.generate
	@$(BIN)/python -m tests.recordings.cases
	@$(BIN)/python -m tests.recordings.accuracy
	@$(BIN)/python -m docs.pictures
	@$(BIN)/python -m docs.commands
	@$(BIN)/python -m tests.exporter.commands.test_docs_diagnose

pins: $(VENV)/.dev ## Versions and hashes of what the images install, from a package index: make pins PINS=--upgrade
	@$(BIN)/python -m deploy.docker.pins $(PINS)

bench: $(VENV)/.dev ## The benchmarks, with their tables
	@for file in tests/benchmarks/bench_*.py; do echo "== $$file"; $(BIN)/python $$file || exit 1; done

# polars (54 MB) is left out: Ultralytics wants it for the results in a checkpoint only.
KIT := tests/gpu/kit/wheels
KIT_PYTHON ?= 3.12
gpu-kit: $(VENV)/.train ## Wheels for a machine with a GPU and PyTorch that reaches no package index: python -m tests.gpu.kit
	@rm -rf $(KIT)
	@$(BIN)/pip download --quiet --no-deps --only-binary=:all: --python-version $(KIT_PYTHON) --implementation cp \
		$(foreach tag,2_28 2_27 2_17 2_12 2_5,--platform manylinux_$(tag)_x86_64) \
		--platform manylinux2014_x86_64 --platform manylinux2010_x86_64 --platform manylinux1_x86_64 -d $(KIT) \
		ultralytics ultralytics-platform ultralytics-thop anyio bcrypt click h11 httptools httpx idna jinja2 \
		nvidia-ml-py prometheus-client psutil rich sniffio starlette uvicorn
	@du -sh $(KIT)

clean: ## Remove what was built
	rm -rf $(VENV) .cache build dist exporter/*.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
