#!/usr/bin/env bash
# The unit tests as other machines have them: threads, instruction sets, a busy machine; each in an order of its own.
# Usage: tests/portable.sh PYTHON [PYTEST ARGUMENTS], which are otherwise all unit tests.
set -uo pipefail
python=$1
shift
tests=("${@:-tests/unit}")
environments=(
    OMP_NUM_THREADS=1
    OMP_NUM_THREADS=2
    ATEN_CPU_CAPABILITY=default
    ATEN_CPU_CAPABILITY=avx2
    ONEDNN_MAX_CPU_ISA=SSE41
    "NPY_DISABLE_CPU_FEATURES=AVX512F AVX2 FMA3 X86_V4 X86_V3" # what the processor lacks is passed over
    NUMBA_CPU_NAME=generic
    OPENBLAS_CORETYPE=Haswell
    OPENBLAS_CORETYPE=Prescott
)
at_a_time=2
logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT

run() {
    local seed=$RANDOM log
    log=$(mktemp "$logs/XXXX")
    echo "== $1 --randomly-seed=$seed" >"$log"
    env "$1" "$python" -m pytest -q -p pytest_randomly --randomly-seed="$seed" -m "not s3" \
        "${tests[@]}" >>"$log" 2>&1 || echo "failed: $1 --randomly-seed=$seed" | tee -a "$log" >>"$logs/failed"
    cat "$log"
}

for environment in "${environments[@]}"; do
    (($(jobs -rp | wc -l) < at_a_time)) || wait -n
    run "$environment" &
done
wait

busy=()
for _ in 1 2 3 4; do
    "$python" -c 'while True: pass' &
    busy+=($!)
done
trap 'kill "${busy[@]}"; rm -rf "$logs"' EXIT
run BUSY=4

if [[ -s $logs/failed ]]; then
    cat "$logs/failed"
    exit 1
fi
