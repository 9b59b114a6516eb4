# mltf: `make` builds, `make test` tests, `make demo` shows it working, `make help` lists the rest.
# Objects go to build/ (build-debug/, build-tsan/ for the sanitizer builds). Variables: CC, PREFIX, J.

.DEFAULT_GOAL := all
BUILD   ?= build
PREFIX  ?= /usr/local
CC      ?= gcc
ifeq ($(origin CC),default)
CC      := gcc
endif
J       ?= $(shell nproc 2>/dev/null || echo 2)
MODE    ?= release
VERSION := $(shell sed -n 's/^.define MLTF_VERSION *"\(.*\)"/\1/p' include/mltf/mltf.h)

PKGS := yaml-0.1 libpcre2-8 libevent libevent_pthreads libcurl openssl zlib sqlite3
PKG_CFLAGS := $(shell pkg-config --cflags $(PKGS) 2>/dev/null)
PKG_LIBS   := $(shell pkg-config --libs $(PKGS) 2>/dev/null)

WARN := -Wall -Wextra -Wpedantic -Wshadow -Wvla -Wmissing-prototypes -Wstrict-prototypes -Werror
OPT_release := -O2 -g
OPT_debug   := -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
OPT_fuzz    := -O1 -g -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all -Wno-error
OPT_tsan    := -O1 -g -fsanitize=thread -fno-omit-frame-pointer
OPT  := $(OPT_$(MODE))
CFLAGS_ALL := -std=c11 -D_POSIX_C_SOURCE=200809L -D_GNU_SOURCE $(WARN) $(OPT) -fPIC -fvisibility=hidden -pthread \
              -Iinclude -Isrc $(PKG_CFLAGS) $(CFLAGS)
LDFLAGS_ALL := $(OPT) -pthread $(LDFLAGS)
LIBS := $(PKG_LIBS) -lm -ldl

# What depends on file or directory: conversions are checked where bytes come in; each kernel file is
# compiled for its own instructions and nothing else is.
flags_for = $(if $(filter src/formats/% src/serve/% src/base/%,$(1)),-Wconversion -Wno-sign-conversion) \
            $(if $(filter src/kernels/ref/%,$(1)),-ffp-contract=off) \
            $(if $(filter src/kernels/x86/kavx2_%,$(1)),-O3 -mavx2 -mfma -mf16c -mbmi2) \
            $(if $(filter src/kernels/x86/kavx512_% src/kernels/x86/kavx512bf16_% src/kernels/x86/kavx512vnni_%,$(1)),-O3 -mavx512f -mavx512bw -mavx512dq -mavx512vl -mfma -mf16c -mbmi2 -mprefer-vector-width=512) \
            $(if $(filter src/kernels/x86/kavx512bf16_%,$(1)),-mavx512bf16) \
            $(if $(filter src/kernels/x86/kavx512vnni_%,$(1)),-mavx512vnni) \
            $(if $(filter src/kernels/x86/kamx_%,$(1)),-O3 -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx512bf16 -mfma -mf16c -mamx-tile -mamx-bf16 -mamx-int8)

# gcc spends minutes on the unrolled kernels under the sanitizers: checks as calls, and no UBSan there
SLOW_debug := -O1 -fno-sanitize=undefined --param asan-instrumentation-with-call-threshold=0
SLOW_tsan  := -O1
SLOW_fuzz  := -O1 -fno-sanitize=all -fno-sanitize=fuzzer-no-link # clang too, and no parser is there
flags_for += $(if $(filter src/kernels/x86/%,$(1)),$(SLOW_$(MODE)))

LIB_SRC  := $(filter-out src/cli/%,$(wildcard src/*.c src/*/*.c src/*/*/*.c))
CLI_SRC  := $(wildcard src/cli/*.c)
LIB_OBJ  := $(LIB_SRC:%.c=$(BUILD)/%.o)
CLI_OBJ  := $(CLI_SRC:%.c=$(BUILD)/%.o)
# a test program a file; unit tests and kernel checks use cmocka, parity and the rest stand alone
UNIT_SRC := $(wildcard tests/unit/test_*.c tests/kernels/check_*.c)
UNIT_BIN := $(UNIT_SRC:%.c=$(BUILD)/%)
TOOL_SRC := $(wildcard tests/parity/*.c)
EXAMPLES := $(patsubst examples/%.c,$(BUILD)/examples/%,$(wildcard examples/*.c))
BENCHES  := $(patsubst bench/%.c,$(BUILD)/bench/%,$(wildcard bench/bench_*.c))
FUZZERS  := $(patsubst fuzz/%.c,$(BUILD)/fuzz/%,$(wildcard fuzz/fuzz_*.c))

.PHONY: all lib programs tests help clean deps test test-debug test-interop test-differential demo debug tsan bench fuzz \
        examples install format
#: make                 build the command build/mltf and the library build/libmltf.a
all: deps
	@$(MAKE) --no-print-directory -j$(J) programs
programs: lib $(if $(CLI_SRC),$(BUILD)/mltf) $(if $(TOOL_SRC),$(BUILD)/parity)
lib: $(BUILD)/libmltf.a
tests: programs $(UNIT_BIN) examples
examples: $(EXAMPLES)

#: make demo            get a real model, log it, register it, serve it, show an answer
demo:
	@sh tools/deps.sh demo
	@$(MAKE) --no-print-directory -j$(J) programs
	@BUILD=$(BUILD) bash tools/demo.sh
#: make test            the test suite (no Python needed)
test:
	@sh tools/deps.sh test
	@$(MAKE) --no-print-directory -j$(J) tests
	@bash tests/run.sh $(BUILD) $(GROUPS)
#: make debug           build with AddressSanitizer and UBSan into build-debug/
debug:
	@sh tools/deps.sh test
	@$(MAKE) --no-print-directory -j$(J) MODE=debug BUILD=build-debug tests
#: make test-debug      the suite under the sanitizers
test-debug: debug
	@ASAN_OPTIONS=detect_leaks=1 SANITIZE=-fsanitize=address,undefined SECONDS_EACH=600 bash tests/run.sh build-debug $(GROUPS)
#: make tsan            build with ThreadSanitizer into build-tsan/ and run what uses threads
tsan:
	@sh tools/deps.sh test
	@$(MAKE) --no-print-directory -j$(J) MODE=tsan BUILD=build-tsan tests
	@SMALL=1 SANITIZE=-fsanitize=thread SECONDS_EACH=600 bash tests/run.sh build-tsan unit http
#: make test-interop    compare with real Python MLflow and transformers (makes and caches an environment)
test-interop: all
	@sh tools/deps.sh demo
	@BUILD=$(BUILD) bash tests/interop/run.sh
#: make test-differential  tokenizers and templates against the real libraries on much text
test-differential: all
	@sh tools/deps.sh demo
	@BUILD=$(BUILD) bash tests/interop/run.sh differential
#: make bench           side by side with Python MLflow, torch, onnxruntime, llama.cpp, tokenizers
bench: all
	@sh tools/deps.sh demo bench
	@$(MAKE) --no-print-directory -j$(J) $(BENCHES)
	@BUILD=$(BUILD) bash bench/run.sh
#: make fuzz            build the fuzzers and run each for SECONDS_EACH (60)
FUZZ_CC ?= clang
fuzz:
	@sh tools/deps.sh fuzz
	@$(MAKE) --no-print-directory -j$(J) CC="$(FUZZ_CC)" MODE=fuzz BUILD=build-fuzz fuzzers
	@BUILD=build-fuzz bash fuzz/run.sh
.PHONY: fuzzers
fuzzers: $(FUZZERS)
#: make install         command, header, libraries and pkg-config file to PREFIX (/usr/local), under DESTDIR
install: all $(BUILD)/libmltf.so
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/include/mltf $(DESTDIR)$(PREFIX)/lib/pkgconfig
	install -s -m 755 $(BUILD)/mltf $(DESTDIR)$(PREFIX)/bin/mltf
	install -m 644 include/mltf/mltf.h $(DESTDIR)$(PREFIX)/include/mltf/mltf.h
	install -m 644 $(BUILD)/libmltf.a $(DESTDIR)$(PREFIX)/lib/libmltf.a
	install -s -m 755 $(BUILD)/libmltf.so $(DESTDIR)$(PREFIX)/lib/libmltf.so.0
	ln -sf libmltf.so.0 $(DESTDIR)$(PREFIX)/lib/libmltf.so
	sed -e 's|@PREFIX@|$(PREFIX)|; s|@PKGS@|$(PKGS)|; s|@VERSION@|$(VERSION)|' tools/mltf.pc.in >$(DESTDIR)$(PREFIX)/lib/pkgconfig/mltf.pc
#: make format          clang-format over the sources
format:
	@clang-format -i $$(git ls-files 'src/*.c' 'src/*.h' 'tests/*.c' 'bench/*.c' 'fuzz/*.c' 'examples/*.c')
#: make clean           remove what was built
clean:
	rm -rf build build-debug build-tsan build-fuzz

$(BUILD)/libmltf.a: $(LIB_OBJ)
	@rm -f $@
	@ar rcs $@ $^
$(BUILD)/libmltf.so: $(LIB_OBJ)
	@echo "ld $@"
	@$(CC) $(LDFLAGS_ALL) -shared -Wl,-soname,libmltf.so.0 -o $@ $^ $(LIBS)
$(BUILD)/mltf: $(CLI_OBJ) $(BUILD)/libmltf.a
	@echo "ld $@"
	@$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LIBS)
$(BUILD)/parity: $(TOOL_SRC:%.c=$(BUILD)/%.o) $(BUILD)/libmltf.a
	@echo "ld $@"
	@$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LIBS)
$(BUILD)/tests/%: $(BUILD)/tests/%.o $(BUILD)/libmltf.a
	@mkdir -p $(@D)
	@echo "ld $@"
	@$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LIBS) -lcmocka
$(BUILD)/examples/%: $(BUILD)/examples/%.o $(BUILD)/libmltf.a
	@echo "ld $@"
	@$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LIBS)
$(BUILD)/bench/%: $(BUILD)/bench/%.o $(BUILD)/libmltf.a
	@echo "ld $@"
	@$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LIBS)
$(BUILD)/fuzz/%: $(BUILD)/fuzz/%.o $(BUILD)/libmltf.a
	@mkdir -p $(@D)
	@echo "ld $@"
	@$(CC) $(LDFLAGS_ALL) -fsanitize=fuzzer -o $@ $^ $(LIBS)
$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	@echo "cc $<"
	@$(CC) $(CFLAGS_ALL) $(call flags_for,$<) -MMD -MP -c -o $@ $<
.SECONDARY:
-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)

deps:
	@sh tools/deps.sh build

help:
	@sed -n 's/^#: /  /p' Makefile
