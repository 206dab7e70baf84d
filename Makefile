# DenseBench. `make help` explains; README tells the rest.
#
# VENV=      (empty) uses the python3 you have, which must hold the packages of requirements.txt: a CUDA machine, conda, a
#            container. PIP_ARGS adds options to pip, for example to choose a build of torch.
VENV ?= .venv
PIP_ARGS ?=
JOBS ?= $(shell getconf _NPROCESSORS_ONLN)
SYSTEM_PYTHON := $(shell command -v python3.11 || command -v python3)
PYTHON := $(if $(VENV),$(VENV)/bin/python,python3)
READY := $(if $(VENV),$(VENV)/.ready)

.PHONY: help setup demo study report test lint clean
.DEFAULT_GOAL := help

help:
	@echo "make demo     set up, then the short study on embedded data, to a report: about 10 minutes on 2 cores"
	@echo "make test     set up, then all tests: under 10 minutes on 2 cores"
	@echo "make study    all methods x tasks x 3 seeds, resumable: hours on 2 cores, minutes on a large machine"
	@echo "              your own encoders and data: python tools/compare.py --help"
	@echo "make report   rebuild the reports from the result records below runs/"
	@echo "make lint     ruff"
	@echo "make clean    delete reports, runs and generated data (asks first); keeps $(VENV)"
	@echo "make setup    only make the environment"
	@echo "Options: VENV= (use the python3 you have), PIP_ARGS='...', JOBS=n (runs at once; default: cores)"

# Wheels only: nothing is compiled. cv2 is imported because a machine without a display may lack a library it needs.
$(VENV)/.ready: requirements.txt
	@test -n "$(SYSTEM_PYTHON)" || { echo "error: no python3 found; install Python 3.11"; exit 2; }
	$(SYSTEM_PYTHON) -m venv $(VENV)
	@echo "installing the packages of requirements.txt into $(VENV): a minute or two"
	@$(VENV)/bin/python -m pip install -qq --disable-pip-version-check --only-binary=:all: $(PIP_ARGS) -r requirements.txt
	@$(VENV)/bin/python -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation -e .
	@$(VENV)/bin/python -c "import cv2" || { echo "error: cv2 cannot be imported; install your system's OpenGL library (libgl1) and run again"; exit 2; }
	@touch $@

setup: $(READY)

demo: $(READY)
	@$(PYTHON) tools/study.py demo --jobs $(JOBS); status=$$?; [ $$status -le 1 ] || exit $$status; \
	$(PYTHON) -m reports runs/tiny --out report/demo && exit $$status

study: $(READY)
	@$(PYTHON) tools/study.py study --jobs $(JOBS); status=$$?; [ $$status -le 1 ] || exit $$status; \
	$(PYTHON) -m reports runs/study --out report/study && exit $$status

report: $(READY)
	@for scale in tiny study; do \
	  if [ -d runs/$$scale ]; then \
	    name=$$([ $$scale = tiny ] && echo demo || echo $$scale); \
	    $(PYTHON) -m reports runs/$$scale --out report/$$name || exit 1; \
	  fi; \
	done; [ -d runs ] || { echo "error: there is no runs/ folder yet; make demo fills it"; exit 2; }

test: $(READY)
	$(PYTHON) -m pytest -n $(JOBS) --dist worksteal

lint: $(READY)
	$(PYTHON) -m ruff check . && $(PYTHON) -m ruff format --check .

clean:
	@printf "delete report/, runs/ and data/scenes*? [y/N] "; read answer; \
	if [ "$$answer" = y ]; then rm -rf report runs data/scenes data/scenes-study; else echo kept; fi
