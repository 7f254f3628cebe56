# The parts of ./x test, sourced by x. A part is a function part_NAME; it prints, leaves JUnit XML files under
# build/test-results/ where it can, and returns 0 or not. Add a part: write the function, put its name into all_parts.
# The end counts what ran, and fails when a part failed or nothing ran. A part runs as a condition, where bash ignores
# `set -e`: chain its steps by && or return.
results=build/test-results
all_parts=(floors links docs ctest tokenizers cli python torch viewer browser)

test_everything() {
  local parts=("$@") part start=$SECONDS began failed=()
  ((${#parts[@]})) || parts=("${all_parts[@]}")
  for part in "${parts[@]}"; do
    declare -F "part_$part" >/dev/null || die "no part '$part' of the tests; there are: ${all_parts[*]}"
  done
  x_setup
  x_model
  # What PyTorch brings comes over the network while the compiler works.
  if [[ " ${parts[*]} " == *" torch "* && -z $(no_torch) ]]; then
    need_venv .venv-torch tests/torch/requirements.txt >"${TMPDIR:-/tmp}/bareattn-torch.$$" 2>&1 &
    torch_comes=$!
  fi
  # One compiler's name for CMake and pip, which both ask for the library: what one has compiled the other finds.
  export CXX=${CXX:-c++} CMAKE_CXX_COMPILER_LAUNCHER=${CMAKE_CXX_COMPILER_LAUNCHER-ccache} CCACHE_DIR=${CCACHE_DIR:-$PWD/build/ccache}
  export CCACHE_SLOPPINESS=${CCACHE_SLOPPINESS:-pch_defines,time_macros}  # what it asks for to know precompiled headers
  say "Building everything, tests included"
  build release
  rm -rf "$results" out/wheel
  mkdir -p "$results"
  say "Ready to test after $((SECONDS - start)) s"
  for part in "${parts[@]}"; do
    say "Test part: $part"
    began=$SECONDS
    if "part_$part"; then
      echo "  $part: passed in $((SECONDS - began)) s"
    else
      failed+=("$part")
      printf '%s  %s: FAILED after %d s%s\n' "$red" "$part" $((SECONDS - began)) "$off"
    fi
  done
  say "Result"
  python3 tools/test_report.py "$results" --seconds $((SECONDS - start)) --parts "${parts[@]}" --failed ${failed[@]+"${failed[@]}"}
}

# A part that is one command: counts as one test.
single() {
  local name=$1 status=0; shift
  run "$@" || status=1
  printf '<testsuite name="%s" tests="1"><testcase name="%s" classname="%s">%s</testcase></testsuite>\n' \
    "$name" "$name" "$name" "$( ((status)) && echo '<failure/>')" >"$results/$name.xml"
  return $status
}

part_floors() { single floors python3 tools/check_floors.py; }
part_links() { single links python3 tools/check_links.py; }

part_ctest() {
  export BAREATTN_MODEL=${BAREATTN_MODEL:-$PWD/$model}
  # Each GoogleTest program leaves its own cases; the tests that are no such program are in ctest.xml.
  GTEST_OUTPUT="xml:$PWD/$results/gtest/" run ctest --preset release --parallel 2 --output-junit "$PWD/$results/ctest.xml"
}

# The vocabularies of real models, which are fetched for this (550 MB of disk) and not part of the project. Where there
# is no room for them, or BAREATTN_TOKENIZERS=0, the part is one named skip; small vocabularies are tested by ctest.
part_tokenizers() {
  local reason='' folder=$PWD/tests/tokenizers/node_modules/@lenml
  (($(df --output=avail -k . | tail -1) > 2097152)) || [[ -d $folder ]] || reason='less than 2 GB of disk are free'
  [[ ${BAREATTN_TOKENIZERS:-1} == 0 ]] && reason='BAREATTN_TOKENIZERS=0'
  if [[ -n $reason ]]; then
    echo "  NOT TESTED with the vocabularies of real models: $reason"
    printf '<testsuite name="tokenizers" tests="1"><testcase name="tokenizers" classname="tokenizers"><skipped message="%s"/></testcase></testsuite>\n' \
      "$reason" >"$results/tokenizers.xml"
    return 0
  fi
  [[ -d $folder ]] || run npm ci --prefix tests/tokenizers --silent --ignore-scripts --no-audit --no-fund || return 1
  BAREATTN_TOKENIZERS=$folder GTEST_OUTPUT="xml:$PWD/$results/tokenizers.xml" \
    run build/tests/tokenizer_hf_test --gtest_filter='*RealVocabularies'
}

# The command from outside, two files of tests at a time: much of it is waiting.
part_cli() {
  [[ -d tests/cli ]] || { echo "  no tests/cli/ in this tree: nothing to test"; return 0; }
  export BAREATTN_BIN=${BAREATTN_BIN:-$PWD/build/bareattn} BAREATTN_MODEL=${BAREATTN_MODEL:-$PWD/$model}
  need_venv .venv tests/requirements.txt && run .venv/bin/python -m pytest -q -n 2 --dist loadfile --junitxml="$results/cli.xml" tests/cli
}

# The reference of the public headers; Doxygen's warnings are errors.
part_docs() { mkdir -p out/docs && single docs doxygen docs/Doxyfile; }

# python/: the module is built into .venv and its tests run there.
part_python() {
  [[ -f pyproject.toml ]] || { echo "  no Python package in this tree (pyproject.toml): nothing to test"; return 0; }
  need_venv .venv tests/requirements.txt &&
    install_wheel .venv &&
    run .venv/bin/python -m pytest -q --junitxml="$results/python.xml" python/tests tests/conformance
}

# The module, into an environment; compiled once for all of them (test_everything throws away what an older tree left).
install_wheel() {
  # It takes the library that the command is made of, and builds in a folder where no `pip install .` finds that choice.
  [[ -e $(echo out/wheel/*.whl) ]] || run "$1/bin/python" -m pip wheel -q --disable-pip-version-check --no-deps -w out/wheel \
    --config-settings=cmake.define.BAREATTN_FROM="$PWD/build" --config-settings=build-dir=build/python . || return 1
  run "$1/bin/python" -m pip install -q --disable-pip-version-check --force-reinstall --no-deps out/wheel/*.whl
}

# Why PyTorch cannot be tested against here; nothing where it can.
no_torch() {
  local room=$(($(df --output=avail -k . | tail -1) / 1048576))
  if [[ ${BAREATTN_TORCH:-1} == 0 ]]; then
    echo 'BAREATTN_TORCH=0'
  elif ((room < 14)) && [[ ! -d .venv-torch ]]; then
    echo "$room GB of disk are free, 14 are needed"
  fi
}

# Against PyTorch, JAX and transformers, which take 6 GB of disk: where there is no room for them, or BAREATTN_TORCH=0,
# the part is one named skip.
part_torch() {
  [[ -d tests/torch ]] || { echo "  no tests/torch/ in this tree: nothing to test"; return 0; }
  local reason; reason=$(no_torch)
  if [[ -n $reason ]]; then
    echo "  NOT TESTED against PyTorch, JAX and transformers: $reason"
    printf '<testsuite name="torch" tests="1"><testcase name="torch" classname="torch"><skipped message="%s"/></testcase></testsuite>\n' \
      "$reason" >"$results/torch.xml"
    return 0
  fi
  export BAREATTN_MODEL=${BAREATTN_MODEL:-$PWD/$model}
  if [[ -n ${torch_comes:-} ]]; then
    wait "$torch_comes" || cat "${TMPDIR:-/tmp}/bareattn-torch.$$"
    rm -f "${TMPDIR:-/tmp}/bareattn-torch.$$"
  fi
  need_venv .venv-torch tests/torch/requirements.txt && install_wheel .venv-torch &&
    run .venv-torch/bin/python -m pytest -q --junitxml="$results/torch.xml" tests/torch python/tests/test_arrays.py
}

# The viewer: types, lint, and unit tests where it has them.
part_viewer() {
  [[ -f viewer/package.json ]] || { echo "  no viewer/ in this tree: nothing to test"; return 0; }
  single viewer npm --prefix viewer run --silent check
}

# The page in a real browser. node --test prints totals, which are counted.
part_browser() {
  [[ -f tests/browser/package.json ]] || { echo "  no tests/browser/ in this tree: nothing to test"; return 0; }
  local status=0
  export BAREATTN_MODEL=${BAREATTN_MODEL:-$PWD/$model}
  run npm --prefix tests/browser test 2>&1 | tee "$results/browser.log" || status=1
  grep -qE '(#|ℹ) pass [1-9]' "$results/browser.log" || { echo "  no browser test passed or none ran"; status=1; }
  return $status
}
