# `make demo` and `make test` set up everything they need.
PYTHON ?= python3
VENV ?= .venv
# Windows keeps the programs of an environment in another folder
BIN = $(VENV)/$(if $(filter Windows_NT,$(OS)),Scripts,bin)
DEMO_OUT ?= results/demo

.DEFAULT_GOAL := help
.PHONY: help demo install develop format check test wheel release golden fuzz kill disk coverage audit docs site \
	examples formats bench clean

help: ## list the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

# what running needs
$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "lmpnet needs Python 3.11 or newer")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --no-compile --constraint constraints.txt --editable . # Python compiles what it needs
	@touch $@

# what tests, checks and the other targets for developers add
$(VENV)/developed: $(VENV)/installed
	$(BIN)/python -m pip install --constraint constraints.txt --group dev --editable .
	@touch $@

install: $(VENV)/installed ## create the environment in .venv, with what running needs
develop: $(VENV)/developed ## add what tests and checks need

demo: $(VENV)/installed ## find keypoints on the drawn birds in examples/
	$(BIN)/lmpnet discover examples/birds/images --k 5 --out $(DEMO_OUT) --overwrite
	@echo "Look at $(DEMO_OUT)/overview.jpg"

format: $(VENV)/developed ## format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

check: $(VENV)/developed ## check lint rules, format, types and the order of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: $(VENV)/developed ## run the tests (also on photos if LMPNET_DATA names their folder)
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

wheel: $(VENV)/developed ## build the wheel, install it without this clone, and try every command
	$(BIN)/python tests/try_wheel.py

release: $(VENV)/developed ## check, test and tag this version, without pushing the tag
	$(BIN)/python .ci/release.py
	$(MAKE) check test wheel
	$(BIN)/python .ci/release.py --tag

golden: ## repeat the stored run with the oldest PyTorch (separate environment, several gigabytes)
	$(PYTHON) -m venv $(VENV)-oldest
	$(VENV)-oldest/bin/python -m pip install --quiet --upgrade "pip>=25.1"
	$(VENV)-oldest/bin/python -m pip install --quiet "torch==2.11.*" "torchvision==0.26.*" --group golden --editable .
	$(VENV)-oldest/bin/python -m pytest -W ignore tests/test_golden.py

fuzz: $(VENV)/developed ## read tens of thousands of damaged images and documents
	$(BIN)/python tests/hostile/fuzz.py images --count 100000
	$(BIN)/python tests/hostile/fuzz.py documents --count 20000

kill: $(VENV)/developed ## kill discover and train at random moments and resume them
	$(BIN)/python tests/hostile/kill.py --kills 50

disk: $(VENV)/developed ## run every command on disks that fill up (as root)
	$(BIN)/python tests/hostile/disk.py

coverage: $(VENV)/developed ## run the tests and measure branch coverage
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder
	$(BIN)/coverage combine
	$(BIN)/coverage report

audit: $(VENV)/developed ## check installed libraries for known vulnerabilities (needs the network)
	$(PYTHON) -m venv $(VENV)-audit
	$(VENV)-audit/bin/python -m pip install --quiet pip-audit
	@mkdir -p build
	$(BIN)/python -m pip freeze --exclude-editable > build/installed.txt
	$(VENV)-audit/bin/pip-audit --requirement build/installed.txt --no-deps --disable-pip --progress-spinner off

docs: $(VENV)/installed ## write docs/options.md
	$(BIN)/python docs/options.py

$(VENV)/documented: $(VENV)/installed
	$(BIN)/python -m pip install --constraint constraints.txt --group docs
	@touch $@

site: $(VENV)/documented ## check spelling and links, and build the documentation in build/site
	$(BIN)/codespell
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

examples: $(VENV)/installed ## run the four programs of examples/ on little data
	$(BIN)/python examples/to_cvat.py --out results/to-cvat
	$(BIN)/python examples/own_classes.py --out results/own-classes --epochs 2
	$(BIN)/python examples/classify.py --images 12 --shots 4
	$(BIN)/python examples/own_landmarks.py --out results/own-landmarks

formats: ## test export formats, and examples/ for annotation tools, with these tools (separate environment, several gigabytes)
	$(PYTHON) -m venv $(VENV)-formats
	$(VENV)-formats/bin/python -m pip install --quiet --upgrade "pip>=25.1"
	$(VENV)-formats/bin/python -m pip install --quiet --group formats --editable .
	YOLO_OFFLINE=1 $(VENV)-formats/bin/python -m pytest -W ignore tests/export/test_formats.py tests/test_integrations.py

bench: $(VENV)/developed ## measure speed and memory on this machine (BENCH_IMAGES names a folder of photos)
	$(BIN)/python benchmarks/speed.py $(BENCH_IMAGES)

clean: ## remove the environment and the results
	rm -rf $(VENV) $(VENV)-formats $(VENV)-oldest $(VENV)-audit build results .coverage*
