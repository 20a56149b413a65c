# make serve   installs what is missing, draws sample studies, starts the server
# make test    installs what is missing, runs every test
# make soak    installs what is missing, runs the tests that take many minutes (tests/soak), with new seeds
# make lint    checks style
# make clean   removes the environments and the drawn studies

VENV := .venv
BIN := $(VENV)/bin
# The fuzzer's own: it needs a newer jsonschema than MONAI Label
FUZZ := .fuzz
SUITABLE := import sys, ensurepip, venv; sys.exit(sys.version_info[:2] != (3, 11))
PYTHON ?= $(shell for p in python3.11 python3 python; do \
	command -v $$p >/dev/null 2>&1 && $$p -c '$(SUITABLE)' 2>/dev/null && { echo $$p; break; }; done)

SAMPLES := studies
STUDIES ?= $(SAMPLES)
HOST ?= 127.0.0.1
PORT ?= 8000
# Pairs for the app, for example CONF="models all"
CONF ?=

.PHONY: serve test soak lint clean
.DELETE_ON_ERROR:

serve: $(VENV)/.serve
	@case "$(STUDIES)" in http*) ;; *) test -e "$(STUDIES)" || { \
		test "$(STUDIES)" = "$(SAMPLES)" || { echo "There is no folder $(STUDIES). Give one with STUDIES=FOLDER."; exit 2; }; \
		echo "Drawing sample studies into $(SAMPLES)/"; rm -rf "$(SAMPLES).partial"; \
		$(BIN)/textseg samples "$(SAMPLES).partial" >/dev/null && mv "$(SAMPLES).partial" "$(SAMPLES)"; };; esac
	@case "$(HOST)" in 127.*|localhost|::1) ;; *) \
		case "$(CONF)" in *"allow_remote true"*) \
			echo; echo "WARNING: HOST=$(HOST) and allow_remote let every machine that reaches this one read the pictures in"; \
			echo "$(STUDIES), run the models and change or delete pictures and labels, without a password. Closed networks only."; \
			echo;; \
		*) echo; echo "HOST=$(HOST): other machines reach the server, and it refuses them until it is told to answer:"; \
			echo "make serve HOST=$(HOST) CONF=\"allow_remote true\" (without a password), or MONAI Label's login."; \
			echo;; esac;; esac
	@echo "Starting on http://$(HOST):$(PORT). When it says that it is ready, in 3D Slicer: module MONAI Label,"
	@echo "server http://$(HOST):$(PORT), Next Sample, Options: write into the cell beside \"prompt\", Run."
	@$(BIN)/python -m monailabel.main start_server --app apps/textseg --studies "$(STUDIES)" \
		--host "$(HOST)" --port "$(PORT)" $(if $(CONF),--conf $(CONF))

test: $(VENV)/.test $(FUZZ)/.fuzz
	$(BIN)/ruff check . && $(BIN)/ruff format --check .
	$(BIN)/python -m pytest

soak: $(VENV)/.test $(FUZZ)/.fuzz
	$(BIN)/python -m pytest tests/soak -s

lint: $(VENV)/.test
	$(BIN)/ruff check . && $(BIN)/ruff format --check .

clean:
	rm -rf $(VENV) $(FUZZ) $(SAMPLES)

$(BIN)/python:
	@test -n "$(PYTHON)" && $(PYTHON) -c '$(SUITABLE)' 2>/dev/null || { \
		echo "textseg needs Python 3.11 with venv, and found none$(if $(PYTHON), in $(PYTHON))."; \
		echo "Get it: Debian 12 'apt install python3.11-venv'; Ubuntu 'apt install python3.11 python3.11-venv'"; \
		echo "(before 22.04 or after 23.04 from the deadsnakes archive); Fedora 'dnf install python3.11';"; \
		echo "or from python.org. Then: make $(MAKECMDGOALS) PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.serve: $(BIN)/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --disable-pip-version-check -q -c constraints.txt -e .
	@touch $@

$(VENV)/.test: $(BIN)/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --disable-pip-version-check -q -c constraints.txt -e ".[train,test]"
	@touch $@ $(VENV)/.serve

$(FUZZ)/.fuzz: $(BIN)/python constraints-fuzz.txt
	$(BIN)/python -m venv --clear $(FUZZ)
	$(FUZZ)/bin/python -m pip install --disable-pip-version-check -q -c constraints-fuzz.txt schemathesis
	@touch $@
