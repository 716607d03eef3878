#!/usr/bin/env bash
# The unit tests as other machines have them: threads, instruction sets, a busy machine; each in an order of its own.
# Usage: tests/portable.sh PYTHON [PYTEST ARGUMENTS], which are otherwise all unit tests.
set -uo pipefail
python=$1
shift
tests=("${@:-tests/unit}")
failed=()

run() {
    local seed=$RANDOM
    echo "== $* --randomly-seed=$seed"
    env "$@" "$python" -m pytest -q -p pytest_randomly --randomly-seed="$seed" -m "not ray and not s3" "${tests[@]}" ||
        failed+=("$* --randomly-seed=$seed")
}

run OMP_NUM_THREADS=1
run OMP_NUM_THREADS=2
run ATEN_CPU_CAPABILITY=default
run ATEN_CPU_CAPABILITY=avx2
run ONEDNN_MAX_CPU_ISA=SSE41
run NPY_DISABLE_CPU_FEATURES="AVX512F AVX2 FMA3 X86_V4 X86_V3" # what the processor lacks is passed over
run NUMBA_CPU_NAME=generic
run OPENBLAS_CORETYPE=Haswell
run OPENBLAS_CORETYPE=Prescott

for _ in 1 2 3 4; do
    "$python" -c 'while True: pass' &
done
trap 'kill $(jobs -p)' EXIT
run BUSY=4

if ((${#failed[@]})); then
    printf 'failed: %s\n' "${failed[@]}"
    exit 1
fi
