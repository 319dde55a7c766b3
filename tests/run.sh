#!/bin/sh
# Runs the tests of one flavour (release, asan, tsan, valgrind), the crash test alone ("crash"), the race test alone ("race"), or
# everything ("all": both compilers, lint, every flavour).
# Ends with one line that counts: N passed, N failed. A suite's output goes to build/<flavour>/*.log and is shown if it fails.
set -eu
cd "$(dirname "$0")/.."

mkdir -p build
counts=$(mktemp) # a line a suite: passed, failed
trap 'rm -f "$counts"' EXIT

say() {
	printf '%s %s\n' "$(date -u +%H:%M:%S)" "$*"
}

# count NAME STATUS PASSED FAILED: a suite that fails without naming a test counts as one failure
count() {
	bad=$4
	if [ "$2" -ne 0 ] && [ "$bad" -eq 0 ]; then
		bad=1
	fi
	echo "$3 $bad" >>"$counts"
	if [ "$2" -eq 0 ]; then
		say "$1: $3 passed"
	else
		say "$1: FAILED ($3 passed, $4 failed)"
	fi
}

# at_once SUITE...: such as keep one processor busy each; what they say is shown when they have ended, in this order
at_once() {
	pids=
	for suite in "$@"; do
		# shellcheck disable=SC2086 # a function and its arguments
		$suite >"build/$suite.log" 2>&1 &
		pids="$pids $!"
	done
	for pid in $pids; do
		wait "$pid" || count "$1" 1 0 1
		cat "build/$1.log"
		shift
	done
}

step() {
	name=$1
	log=$2
	shift 2
	status=0
	mkdir -p "$(dirname "$log")"
	"$@" >"$log" 2>&1 || status=$?
	if [ "$status" -ne 0 ]; then
		tail -n 60 "$log"
		count "$name" "$status" 0 1
	else
		count "$name" 0 1 0
	fi
	return 0
}

# Small stacks, since valgrind takes long to note each byte of a new one.
VALGRIND="prlimit --stack=1048576 env LD_BIND_NOW=1 LD_PRELOAD=$PWD/build/valgrind/preload.so"
VALGRIND="$VALGRIND E2EED_KEYPOOL=$PWD/build/valgrind/keypool.pem E2EED_KEYPOOL_CHECKED=$PWD/build/valgrind/keypool.checked"
VALGRIND="$VALGRIND valgrind -q --error-exitcode=99 --leak-check=full --show-leak-kinds=definite,possible --fair-sched=yes"

# What takes too long under valgrind and is not ours: tests/valgrind/*.c say how. The daemon's own pairs, and those of its clients,
# which are checked here and not again.
make_preload() {
	make -s FLAVOUR=valgrind build/valgrind/preload.so >/dev/null
	for _ in $(seq 24); do
		openssl genrsa 2048 2>/dev/null
	done >build/valgrind/keypool.pem
	: >build/valgrind/keypool.checked
	for _ in $(seq 12); do
		openssl genrsa -out build/valgrind/pair.pem 2048 2>/dev/null
		openssl pkey -in build/valgrind/pair.pem -check -noout >/dev/null
		cat build/valgrind/pair.pem
		{
			openssl pkey -in build/valgrind/pair.pem -outform DER | openssl dgst -sha256 -binary
			printf '\001'
		} >>build/valgrind/keypool.checked
	done >build/valgrind/identities.pem
}

unit() {
	flavour=$1
	log=build/$flavour/unit.log
	status=0
	wrap=
	if [ "$flavour" = valgrind ]; then
		make_preload
		wrap=$VALGRIND
	fi
	# the longest first, so that none is still running when all others have ended
	set --
	for name in store_tamper rsa log_damage seal_command; do
		set -- "$@" "build/$flavour/unit/test_$name"
	done
	for program in build/"$flavour"/unit/test_*; do
		case " $* " in
		*" $program "*) ;;
		*) set -- "$@" "$program" ;;
		esac
	done
	prove --jobs "$(nproc)" --exec "$wrap" "$@" >"$log" 2>&1 || status=$?
	n=$(sed -n 's/^Files=[0-9]*, Tests=\([0-9]*\),.*/\1/p' "$log")
	bad=$(sed -n 's/.*Failed [a-z ]*\([0-9]*\)\/[0-9]* subtests.*/\1/p' "$log" | awk '{ s += $1 } END { print s + 0 }')
	if [ "$status" -ne 0 ]; then
		tail -n 60 "$log"
	fi
	count "$flavour: unit tests" "$status" $((${n:-0} - bad)) "$bad"
}

# node_suite NAME LOG COMMAND...: tests that node reports in TAP
node_suite() {
	name=$1
	log=$2
	shift 2
	status=0
	mkdir -p "$(dirname "$log")"
	"$@" >"$log" 2>&1 || status=$?
	n=$(sed -n 's/^# pass \([0-9]*\)$/\1/p' "$log")
	bad=$(sed -n 's/^# fail \([0-9]*\)$/\1/p' "$log")
	if [ "$status" -ne 0 ]; then
		grep -nE -A 30 '^ *not ok|^sudo:' "$log" | head -n 200
	fi
	sed -n 's/^# figures: /  /p' "$log"
	count "$name" "$status" "${n:-0}" "${bad:-0}"
}

e2e() {
	flavour=$1
	bin=build/$flavour
	wrap=
	pairs=
	cases=1000
	envelopes=
	frames=
	case $flavour in
	release)
		bin=build
		envelopes=${E2EED_CASES:-250} # 100,000 rounds of PBKDF2 on either side of each; `make interop` has 1000
		;;
	asan)
		cases=100
		frames=100000
		envelopes=50 # most of their time is libcrypto's, which sanitizers do not see
		;;
	tsan)
		cases=50
		envelopes=20
		;;
	valgrind)
		cases=10
		pairs=build/valgrind/identities.pem
		wrap=$VALGRIND
		;;
	esac
	node_suite "$flavour: end-to-end tests" "build/$flavour/e2e.log" \
		env "E2EED_BIN=$bin/e2eed" "E2EECTL_BIN=$bin/e2eectl" "E2EED_WRAP=$wrap" "E2EED_CASES=${E2EED_CASES:-$cases}" \
		"E2EED_ENVELOPES=${envelopes:-${E2EED_CASES:-$cases}}" "E2EED_FRAMES=$frames" "E2EED_IDENTITIES=$pairs" \
		node --test --test-concurrency="$(($(nproc) + 1))" --test-reporter=tap tests/e2e/
}

# The memory of a process that made itself undumpable is for root to read; the sanitizers' own copies would be found in it.
memory() {
	root=
	[ "$(id -u)" -eq 0 ] || root="sudo -n"
	step "release: memory programs" build/release/memory-build.log make -s memory-programs
	# shellcheck disable=SC2086 # nothing, or two words
	node_suite "release: memory tests" build/release/memory.log $root node --test --test-concurrency=1 --test-reporter=tap tests/memory/
}

# Restarts are most of it, and take too long under the other checkers; under ASan, errors of the disk show what leaks, a kill nothing.
crash() {
	flavour=$1
	only=.
	bin=build
	if [ "$flavour" != release ]; then
		bin=build/$flavour
		only=refused
	fi
	node_suite "$flavour: crash test" "build/$flavour/crash.log" \
		env "E2EED_BIN=$bin/e2eed" "E2EED_FAULTS_LIBRARY=$PWD/build/$flavour/faults.so" "E2EED_KILLS=$2" \
		node --test --test-name-pattern="$only" --test-reporter=tap tests/crash/crash.test.mjs
}

# Only under these two, which see what a race does besides a wrong answer.
race() {
	node_suite "$1: race test" "build/$1/race.log" env "E2EED_BIN=build/$1/e2eed" "E2EED_RACE_S=$2" \
		node --test --test-reporter=tap tests/race/race.test.mjs
}

lint() {
	step "lint" build/release/lint.log make -s -j"$(nproc)" lint
}

# Much of it is waiting for packages.
shim_build() {
	step "shim: build" build/release/shim-build.log make -s shim-tests
}

# The shim's tests: apps in Rocket.Chat's sandboxes, people in a browser, the client in several runtimes.
shim() {
	node_suite "shim: tests" build/release/shim.log \
		env "E2EED_BIN=build/e2eed" "E2EED_CASES=${E2EED_CASES:-400}" \
		node --test --test-concurrency="$(($(nproc) + 1))" --test-reporter=tap tests/shim/
}

flavour() {
	step "$1: build" "build/$1/build.log" make -s -j"$(nproc)" FLAVOUR="$1" all unit-programs "build/$1/faults.so"
	unit "$1"
	e2e "$1"
}

case ${1:-} in
all)
	step "clang: build" build/clang/build.log make -s -j"$(nproc)" FLAVOUR=clang all unit-programs
	at_once lint shim_build
	flavour release
	shim
	flavour asan
	at_once "crash release ${E2EED_KILLS:-150}" memory "crash asan 0"
	race asan "${E2EED_RACE_S:-6}"
	flavour tsan
	race tsan "${E2EED_RACE_S:-6}"
	flavour valgrind
	;;
release)
	flavour release
	shim_build
	shim
	at_once "crash release ${E2EED_KILLS:-150}" memory
	;;
asan)
	flavour asan
	crash asan 0
	race asan "${E2EED_RACE_S:-6}"
	;;
tsan)
	flavour tsan
	race tsan "${E2EED_RACE_S:-6}"
	;;
valgrind)
	flavour valgrind
	;;
crash)
	crash release "${E2EED_KILLS:-1000}"
	;;
race)
	for f in asan tsan; do
		step "$f: build" "build/$f/build.log" make -s -j"$(nproc)" FLAVOUR="$f" all
		race "$f" "${E2EED_RACE_S:-60}"
	done
	;;
*)
	echo "usage: tests/run.sh all|release|asan|tsan|valgrind|crash|race" >&2
	exit 64
	;;
esac

awk '{ passed += $1; failed += $2 } END { print passed + 0 " passed, " failed + 0 " failed"; exit failed > 0 }' "$counts"
