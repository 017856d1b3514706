# make demo and make test do all the set-up on a fresh Debian or Ubuntu machine with python3.

PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
# The build without GPU code is smaller; any other that is installed works as well.
TENSORFLOW ?= $(if $(filter x86_64,$(shell uname -m)),tensorflow-cpu,tensorflow)
TORCH ?= torch==2.13.0
# The first pip that knows --group; that of Debian 12 is 23.0.
WITH_GROUPS := "pip>=25.1"
DEMO ?= demo
FISH := $(RUN) -m integrations.fish_count

.PHONY: demo test test-all test-oldest test-recipes package lint bench bench-full clean

# Images behind an HTTP server that each run starts and ends: it answers 4 requests at a time, each in 50 ms, so 80 per
# second. The network trains on more than that, so an epoch takes as long as its reads. A single batch is read ahead: it
# finds in an LRU cache what would be evicted by its turn, and many batches are half of these few images. RUNS_BEGAN is
# known before the first line runs.
STORAGE := --latency-ms 50 --parallel 4 --read-ahead 1
TRAIN := $(FISH) train --data $(DEMO)/data --size 128x128 --epochs 5 --maxbytes "50% of data" $(STORAGE)
demo: RUNS_BEGAN = $(shell date +%s)
demo: $(VENV)/.demo  ## draws 1,800 images, trains with no cache, LRU, fill_once and auto, compares the runs
	$(FISH) make_data --out $(DEMO)/data
	rm -rf $(DEMO)/none $(DEMO)/lru $(DEMO)/fill_once $(DEMO)/auto
	$(TRAIN) --cache none --out $(DEMO)/none
	$(TRAIN) --cache lru --out $(DEMO)/lru
	$(TRAIN) --cache fill_once --out $(DEMO)/fill_once
	$(TRAIN) --cache auto --out $(DEMO)/auto
	$(FISH) compare $(DEMO)/none $(DEMO)/lru $(DEMO)/fill_once $(DEMO)/auto --out $(DEMO)/compare.png
	@seconds=$$(( $$(date +%s) - $(RUNS_BEGAN) )); echo "All of this took $$(( seconds / 60 )) min $$(( seconds % 60 )) s"

# Two processes, each with a file at a time: most tests compute or wait on one processor. In the order of the files, which
# begins with those that take longest.
test: $(VENV)/.dev lint  ## ruff, mypy, import-linter, all tests
	$(RUN) -m pytest -n 2 --dist loadfile --no-loadscope-reorder

lint: $(VENV)/.dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports --no-cache --no-logo

# The README's recipes, under fork, forkserver and spawn.
test-recipes: $(VENV)/.recipes
	$(RUN) -m pytest tests/project/test_recipes.py

# The sdist, the wheel that is built from it, and the sdist unpacked.
package: $(VENV)/.dev
	rm -rf build/dist build/sdist
	$(RUN) -m build -q --outdir build/dist .
	$(RUN) -m twine check --strict build/dist/*
	mkdir -p build/sdist && tar -xzf build/dist/*.tar.gz -C build/sdist --strip-components=1

# On the other installed Pythons, on the path or under pyenv: the wheel in an environment of its own, tested by what is
# in the sdist. On the oldest Python, with the oldest versions of what it requires (matplotlib 3.7 calls what pyparsing
# 3.3 deprecates). Without the tests that try the same code thousands of times or that are not of the wheel. Two at a
# time, the output of each in one piece.
PYTHONS := 3.12 3.13
ON_OTHERS := -m pytest -q -m "not exhaustive" --ignore tests/benchmarks
OLDEST := 3.10
test-all: test test-recipes package
	$(MAKE) -j2 --output-sync=target --no-print-directory $(addprefix test-wheel-,$(PYTHONS)) test-oldest

find_python = python=; for found in python$(1) $${PYENV_ROOT:-$$HOME/.pyenv}/versions/$(1).*/bin/python; do \
	"$$found" -c "" 2>/dev/null && python=$$found && break; done; \
	[ -n "$$python" ] || { echo "SKIPPED Python $(1): not installed"; exit 0; }

test-wheel-%:
	@$(call find_python,$*); \
	echo "== the wheel and the sdist on Python $*"; \
	env=$$PWD/.venv-$*; rm -rf $$env; \
	"$$python" -m venv $$env && \
	$$env/bin/pip install -q "$$(echo build/dist/*.whl)[http,images,redis]" hypothesis pytest && \
	(cd / && $$env/bin/bytecache --version) && \
	rm -rf build/sdist-$* && cp -r build/sdist build/sdist-$* && \
	cd build/sdist-$* && $$env/bin/python $(ON_OTHERS)

test-oldest:
	@$(call find_python,$(OLDEST)); \
	echo "== the oldest versions that pyproject.toml admits, on Python $(OLDEST)"; \
	env=$$PWD/.venv-oldest; rm -rf $$env; \
	"$$python" -m venv $$env && \
	$$env/bin/pip install -q build/dist/*.whl && \
	$$env/bin/pip install -q $$($$env/bin/python tests/helpers/oldest.py http images plot redis keras | sed "s/tensorflow==/$(TENSORFLOW)==/") \
	  "pyparsing<3.3" hypothesis pytest && \
	rm -rf build/sdist-oldest && cp -r build/sdist build/sdist-oldest && \
	cd build/sdist-oldest && $$env/bin/python $(ON_OTHERS)

# The measurements in both READMEs; bench-full: with more images, loaders and entries. SENECA=FOLDER: a checkout of it.
BENCHMARKS := hit_rate hosts_scale placement mixed_files hit memory decode batches workers shared shared_memory hosts remote remote_faults scale threads http_client epochs gpu
RESULTS := benchmarks/results
bench-full: EPOCHS := --mb 2000 --all
bench-full: SCALE := --full
bench-full: bench

bench: $(VENV)/.bench  ## every question of benchmarks/README.md; writes its measurements, tables and plots
	for name in $(BENCHMARKS); do \
	  case $$name in epochs) options="$(EPOCHS)";; gpu) options="--mb 500 --epochs 2";; scale) options="$(SCALE)";; \
	    placement) options="$(SENECA:%=--seneca %)";; *) options=;; esac; \
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
	$(RUN) -m pip install -q -e ".[http,images,plot,redis]" tqdm tensorboard $(TENSORFLOW)
	touch $@

$(VENV)/.dev: $(VENV)/bin/pip pyproject.toml
	$(RUN) -m pip install -q $(WITH_GROUPS)
	$(RUN) -m pip install -q -e ".[http,images,plot,redis]" --group dev tensorboard $(TENSORFLOW) $(TORCH)
	touch $@

$(VENV)/.recipes: $(VENV)/.dev
	$(RUN) -m pip install -q --group recipes $(TORCH)
	touch $@

# mosaicml-streaming and litdata require torchvision and the clients of all clouds, which reading files does not need;
# stocaching requires older versions than it works with. nginx serves the files over HTTP; SPDL decodes with FFmpeg.
$(VENV)/.bench: $(VENV)/bin/pip pyproject.toml
	$(RUN) -m pip install -q $(WITH_GROUPS)
	$(RUN) -m pip install -q -e ".[http,images,plot,redis]" --group bench $(TENSORFLOW) $(TORCH)
	-$(VENV)/bin/pip install -q --no-deps litdata mosaicml-streaming stocaching
	-[ "$$(id -u)" = 0 ] || sudo=sudo; $$sudo apt-get update -q && \
	  $$sudo apt-get install -q -y --no-install-recommends nginx-light ffmpeg
	touch $@

clean:
	rm -rf $(VENV) .venv-* demo build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
