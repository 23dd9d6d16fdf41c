# `make demo` and `make test` set up everything they need; `make bench` measures.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/installed
PEERS := .venv-peers

.PHONY: demo test bench bench-peers clean

# One thread: on a network this small more of them only wait for each other.
demo: $(INSTALLED)
	OMP_NUM_THREADS=1 $(BIN)/retemper compare --data digits --model small-cnn \
		--objectives plain,entropic,differential,recipe,pgd --threat linf:0.05,0.1,0.15 --threat l2:0.5 \
		--epochs 20 --retrain-epochs 5 --batch-size 64 --seeds 3 --steps 20 --out runs/demo

test: $(INSTALLED)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest

bench: $(INSTALLED)
	$(BIN)/python -m benchmarks all

bench-peers: $(PEERS)/installed
	OMP_NUM_THREADS=1 $(PEERS)/bin/python -m benchmarks peers
	OMP_NUM_THREADS=1 $(PEERS)/bin/python -m benchmarks pairs-peer

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "retemper needs Python 3.11 or later; name one: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	test -d .venv || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable . --group dev
	touch $@

# The other libraries stay out of .venv: torchattacks brings a package `robustbench` that is not the one of that name.
# The setup.py of visdom, which adv-lib asks for, imports what setuptools 81 dropped.
$(PEERS)/installed: pyproject.toml constraints.txt
	test -d $(PEERS) || $(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install --quiet --upgrade 'pip>=25.3'
	echo 'setuptools<81' > $(PEERS)/build-constraints.txt
	$(PEERS)/bin/python -m pip install --quiet --constraint constraints.txt \
		--build-constraint $(PEERS)/build-constraints.txt --editable . --group peers
	$(PEERS)/bin/python -m pip install --quiet --no-deps --group peers-without-dependencies
	touch $@

clean:
	rm -rf .venv $(PEERS) runs
