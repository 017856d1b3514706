# make demo and make test do all the set-up on a fresh Debian or Ubuntu machine with python3.

PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
# The build without GPU code is smaller; any other that is installed works as well.
TENSORFLOW ?= $(if $(filter x86_64,$(shell uname -m)),tensorflow-cpu,tensorflow)
TORCH ?= torch==2.13.0
DEMO ?= demo
STORAGE_MS ?= 5
FISH := $(RUN) -m integrations.fish_count

.PHONY: demo test test-all lint bench bench-full clean

demo: $(VENV)/.demo  ## draws 1,800 images, trains through an LRU cache and a fill-once cache, compares the runs
	$(FISH) make_data --out $(DEMO)/data
	rm -rf $(DEMO)/lru $(DEMO)/fill_once
	$(FISH) train --data $(DEMO)/data --cache lru --maxbytes "50% of data" --storage-ms $(STORAGE_MS) --out $(DEMO)/lru
	$(FISH) train --data $(DEMO)/data --cache fill_once --maxbytes "50% of data" --storage-ms $(STORAGE_MS) --out $(DEMO)/fill_once
	$(FISH) compare $(DEMO)/lru $(DEMO)/fill_once --out $(DEMO)/hit_rates.png

test: $(VENV)/.dev lint  ## ruff, mypy, import-linter, all tests
	$(RUN) -m pytest

lint: $(VENV)/.dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports --no-cache --no-logo

# The core on the other installed Pythons: on the path, or under pyenv.
test-all: test
	@for version in 3.10 3.12 3.13; do \
	  python=; for found in python$$version $${PYENV_ROOT:-$$HOME/.pyenv}/versions/$$version.*/bin/python; do \
	    "$$found" -c "" 2>/dev/null && python=$$found && break; done; \
	  if [ -z "$$python" ]; then echo "SKIPPED Python $$version: not installed"; continue; fi; \
	  echo "== the core on Python $$version"; \
	  env=.venv-$$version; \
	  { [ -x $$env/bin/pytest ] || { "$$python" -m venv $$env && $$env/bin/pip install -q -e ".[images]" hypothesis pytest; }; } && \
	  $$env/bin/python -m pytest -q || exit 1; \
	done

# The measurements in both READMEs; bench-full: with more images, loaders and entries.
BENCHMARKS := hit_rate hit memory decode batches workers shared shared_memory scale threads epochs gpu
RESULTS := benchmarks/results
bench-full: EPOCHS := --mb 2000 --all
bench-full: SCALE := --full
bench-full: bench

bench: $(VENV)/.bench  ## every question of benchmarks/README.md; writes its measurements, tables and plots
	for name in $(BENCHMARKS); do \
	  case $$name in epochs) options="$(EPOCHS)";; gpu) options="--mb 500 --epochs 2";; scale) options="$(SCALE)";; *) options=;; esac; \
	  $(RUN) -m benchmarks.$$name $$options --json $(RESULTS)/$$name.json || exit 1; done
	$(RUN) -m benchmarks.publish
	mkdir -p build
	$(RUN) -m pytest -q benchmarks --benchmark-max-time=0.1 --benchmark-min-rounds=5 --benchmark-json=build/micro.json

$(VENV)/bin/pip:
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 10))" || \
	  { echo "bytecache needs Python 3.10 or later: make PYTHON=python3.11"; exit 1; }
	@$(PYTHON) -c "import ensurepip" 2>/dev/null || { [ "$$(id -u)" = 0 ] || sudo=sudo; \
	  $$sudo apt-get update -q && $$sudo apt-get install -q -y python3-venv; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: $(VENV)/bin/pip pyproject.toml
	$(VENV)/bin/pip install -q -e ".[plot]" tqdm tensorboard $(TENSORFLOW)
	touch $@

$(VENV)/.dev: $(VENV)/bin/pip pyproject.toml
	$(VENV)/bin/pip install -q -e ".[dev]" tensorboard $(TENSORFLOW) $(TORCH)
	touch $@

# mosaicml-streaming and litdata require torchvision and the clients of all clouds, which reading files does not need;
# stocaching requires older versions than it works with.
$(VENV)/.bench: $(VENV)/bin/pip pyproject.toml
	$(VENV)/bin/pip install -q -e ".[bench]" $(TENSORFLOW) $(TORCH)
	-$(VENV)/bin/pip install -q --no-deps litdata mosaicml-streaming stocaching
	touch $@

clean:
	rm -rf $(VENV) .venv-* demo build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
