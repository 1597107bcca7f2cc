# Sourced by the other scripts: `use_environment EXTRAS` makes .venv with the package and those extras, once.
# What was installed is remembered by the checksum of the files that decide it, so a second run starts at once.

cd "$(dirname "${BASH_SOURCE[0]}")/.."

find_python() {
    local candidate
    for candidate in python3 python3.13 python3.12 python3.11 python; do
        # A version manager's shim may stand on the PATH and yet start nothing, so each is tried.
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    echo "error: no Python 3.11 or newer found on the PATH; install one, such as python3.11" >&2
    return 1
}

# The compiled decoder makes reading faster and is optional; it needs a C compiler and zstd's headers.
find_compiler() {
    if echo '#include <zstd.h>' | cc -E - >/dev/null 2>&1; then
        return
    fi
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        echo "installing a C compiler and zstd's headers"
        apt-get update -qq && apt-get install -y -qq gcc libc6-dev libzstd-dev >/dev/null && return
    fi
    echo "note: no C compiler with zstd's headers, so chunks are decoded by numcodecs, which takes longer;" \
        "on Debian: apt-get install gcc libc6-dev libzstd-dev"
}

# In the tests, zarrita.js reads stores in a browser; where either is missing, they say so and are skipped.
find_browser() {
    local directory=tests/support/browser packages=()
    if ! { command -v chromium-headless-shell || command -v chromium || command -v chromium-browser ||
        command -v google-chrome; } >/dev/null; then
        packages+=(chromium-headless-shell)
    fi
    command -v npm >/dev/null || packages+=(npm)
    if [ "${#packages[@]}" -gt 0 ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        echo "installing ${packages[*]}"
        { apt-get update -qq && apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null; } ||
            echo "note: ${packages[*]} could not be installed"
    fi
    # npm keeps a copy of the lock file with what it installed.
    if command -v npm >/dev/null && [ "$directory/package-lock.json" -nt "$directory/node_modules/.package-lock.json" ]; then
        echo "installing zarrita.js into $directory/node_modules"
        npm ci --silent --ignore-scripts --prefix "$directory" || echo "note: zarrita.js could not be installed"
    fi
}

# The page of `noether-zarr view`, which the package carries.
build_viewer() {
    if command -v npm >/dev/null; then
        ./scripts/viewer --build
    elif [ ! -f src/noether/data/zarr_store/viewing/page/index.html ]; then
        echo "note: no npm, so the page of the viewer is not built; on Debian: apt-get install npm"
    fi
}

use_environment() {
    local extras=$1 python stamp wanted
    stamp=".venv/installed-$extras"
    wanted=$(cat pyproject.toml constraints.txt src/noether/data/zarr_store/codec/csrc/*.[ch] | cksum)
    if [ -x .venv/bin/python ] && [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ]; then
        return
    fi
    python=$(find_python)
    if ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
        echo "making .venv with $("$python" --version)"
        rm -rf .venv
        "$python" -m venv .venv || {
            echo "error: $python has no venv module that works; on Debian: apt-get install python3-venv" >&2
            return 1
        }
    fi
    find_compiler
    echo "installing noether-zarr-store[$extras] into .venv (once; a minute or so)"
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt \
        --editable ".[$extras]"
    echo "$wanted" >"$stamp"
}
