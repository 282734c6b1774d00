# Two commands on a fresh machine: `make demo` and `make test`. Each brings its environment.
VENV ?= .venv
BIN = $(VENV)/bin
RESULTS = benchmarks/results
SPEECH ?= ../shared/data

.PHONY: demo test lint browser check-long ablation elsewhere clean

$(VENV)/installed: pyproject.toml
	python3 -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

demo: $(VENV)/installed
	$(BIN)/distill demo -o demo

# One thread a process: two processes with two threads each on two cores wait for one another.
test: $(VENV)/installed
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not long"

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# What the tests in a browser run; Chromium itself comes from the system's packages.
browser:
	npm install --prefix tests/browser --silent

# What takes longer than a test may; writes what it measured into benchmarks/results/.
check-long: $(VENV)/installed
	OMP_NUM_THREADS=1 $(BIN)/pytest -m long
	rm -rf runs/real-speech runs/throughput
	$(BIN)/distill label $(SPEECH)/speech -o runs/throughput --teacher prosody --json > $(RESULTS)/label-speech.json
	$(BIN)/distill benchmark-training --rounds 9 -o $(RESULTS)/training.json
	$(BIN)/distill benchmark-engine -o benchmarks/emulated/engine.json
	python3 -m venv build/peers
	build/peers/bin/pip install --quiet --disable-pip-version-check 'emx-onnx-cgen>=1.4' 'apache-tvm>=0.27'
	$(BIN)/distill benchmark-peers --python build/peers/bin/python -o $(RESULTS)/peers.json
	$(BIN)/distill run students/pretrained/wav2small.yaml
	cp runs/real-speech/wav2small/result.json $(RESULTS)/wav2small/training.json
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[mutation]'
	$(BIN)/python -m tests.mutation -o $(RESULTS)/mutation.json

# The shipped students on emulated processors: Debian's qemu-user is needed.
elsewhere: $(VENV)/installed
	$(BIN)/python -m benchmarks.elsewhere -o $(RESULTS)/elsewhere.json

# Students with one ingredient changed, and students of people's ratings: hours.
ablation: $(VENV)/installed
	$(BIN)/distill ablate benchmarks/recipes/ablation.yaml -o $(RESULTS)/ablation.json
	$(BIN)/distill ablate benchmarks/recipes/direct.yaml -o $(RESULTS)/direct.json

clean:
	rm -rf $(VENV) demo runs build *.egg-info tests/browser/node_modules
