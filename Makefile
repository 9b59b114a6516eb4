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

PKGS := yaml-0.1 libpcre2-8 libevent libevent_pthreads libcurl openssl zlib sqlite3
PKG_CFLAGS := $(shell pkg-config --cflags $(PKGS) 2>/dev/null)
PKG_LIBS   := $(shell pkg-config --libs $(PKGS) 2>/dev/null)

WARN := -Wall -Wextra -Wpedantic -Wshadow -Wvla -Wmissing-prototypes -Wstrict-prototypes -Werror
OPT_release := -O2 -g
OPT_debug   := -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
OPT_tsan    := -O1 -g -fsanitize=thread -fno-omit-frame-pointer
OPT  := $(OPT_$(MODE))
CFLAGS_ALL := -std=c11 -D_POSIX_C_SOURCE=200809L -D_GNU_SOURCE $(WARN) $(OPT) -fPIC -fvisibility=hidden -pthread \
              -Iinclude -Isrc $(PKG_CFLAGS) $(CFLAGS)
LDFLAGS_ALL := $(OPT) -pthread $(LDFLAGS)
LIBS := $(PKG_LIBS) -lm -ldl
# until every layer is there, programs link with what there is
EARLY := -no-pie -Wl,--unresolved-symbols=ignore-all

# What depends on file or directory: conversions are checked where bytes come in; each kernel file is
# compiled for its own instructions and nothing else is.
flags_for = $(if $(filter src/formats/% src/serve/% src/base/%,$(1)),-Wconversion -Wno-sign-conversion) \
            $(if $(filter src/kernels/ref/%,$(1)),-ffp-contract=off) \
            $(if $(filter src/kernels/x86/kavx2_%,$(1)),-O3 -mavx2 -mfma -mf16c -mbmi2) \
            $(if $(filter src/kernels/x86/kavx512_% src/kernels/x86/kavx512bf16_% src/kernels/x86/kavx512vnni_%,$(1)),-O3 -mavx512f -mavx512bw -mavx512dq -mavx512vl -mfma -mf16c -mbmi2 -mprefer-vector-width=512) \
            $(if $(filter src/kernels/x86/kavx512bf16_%,$(1)),-mavx512bf16) \
            $(if $(filter src/kernels/x86/kavx512vnni_%,$(1)),-mavx512vnni) \
            $(if $(filter src/kernels/x86/kamx_%,$(1)),-O3 -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx512bf16 -mfma -mf16c -mamx-tile -mamx-bf16 -mamx-int8)

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

.PHONY: all lib tests help clean deps
all: deps
	@$(MAKE) --no-print-directory -j$(J) programs
programs: lib $(if $(CLI_SRC),$(BUILD)/mltf) $(if $(TOOL_SRC),$(BUILD)/parity)
lib: $(BUILD)/libmltf.a
tests: programs $(UNIT_BIN)

$(BUILD)/libmltf.a: $(LIB_OBJ)
	@rm -f $@
	@ar rcs $@ $^
$(BUILD)/libmltf.so: $(LIB_OBJ)
	$(CC) $(LDFLAGS_ALL) -shared -Wl,-soname,libmltf.so.0 -o $@ $^ $(LIBS)
$(BUILD)/mltf: $(CLI_OBJ) $(BUILD)/libmltf.a
	$(CC) $(LDFLAGS_ALL) $(EARLY) -o $@ $^ $(LIBS)
$(BUILD)/parity: $(TOOL_SRC:%.c=$(BUILD)/%.o) $(BUILD)/libmltf.a
	$(CC) $(LDFLAGS_ALL) $(EARLY) -o $@ $^ $(LIBS)
$(BUILD)/tests/%: $(BUILD)/tests/%.o $(BUILD)/libmltf.a
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS_ALL) $(EARLY) -o $@ $^ $(LIBS) -lcmocka
$(BUILD)/examples/%: $(BUILD)/examples/%.o $(BUILD)/libmltf.a
	$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LIBS)
$(BUILD)/bench/%: $(BUILD)/bench/%.o $(BUILD)/libmltf.a
	$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LIBS)
$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CFLAGS_ALL) $(call flags_for,$<) -MMD -MP -c -o $@ $<
.SECONDARY:
-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)

clean:
	rm -rf build build-debug build-tsan build-fuzz

deps:
	@sh tools/deps.sh

help:
	@sed -n 's/^#: //p' Makefile
