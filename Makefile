# make demo      train with SGD and SAM on embedded data, measure both, draw the figures
# make gallery   the figures of docs/gallery, from runs trained on the data in data/: an hour or two
# make examples  demo, and the reduced studies of examples/ whose data are in data/
# make test      lint, check types, run every test that is not marked slow
# make test-all  lint, check types, run every test, and ask for a coverage of 90 %
# make test-cuda run what needs a CUDA device, on a simulated one where there is none
# make docs      write docs/cli.md from the application

PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo gallery examples test test-all test-cuda lint docs clean

demo: .venv/installed
	$(BIN)/python examples/demo.py

gallery: .venv/installed-dev
	$(BIN)/python examples/gallery.py

examples: .venv/installed-dev demo
	$(BIN)/python examples/run_studies.py

test: .venv/installed-dev lint
	$(BIN)/pytest -n 2 --dist worksteal -m "not slow" $(COVERAGE)

# The two halves of the tests share one record of the coverage.
test-all:
	$(MAKE) test COVERAGE="--cov --cov-report="
	$(MAKE) test-cuda
	$(BIN)/pytest -n 2 --dist worksteal -m slow --cov --cov-append --cov-report=term:skip-covered --cov-fail-under=90

test-cuda: .venv/installed-dev
	$(BIN)/python tests/cuda/run.py -q

lint: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

docs: .venv/installed-dev
	$(BIN)/typer landscape_cli.app utils docs --name landscape --title "Command-line reference" --output docs/cli.md

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt torch
	$(BIN)/pip install --quiet --constraint constraints.txt --editable .
	touch $@

.venv/installed-dev: .venv/installed
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev,graphs]'
	touch $@

clean:
	rm -rf .venv runs build *.egg-info
