# Functions for the other scripts, which source this file. `use_environment EXTRAS` creates .venv with the package and
# those extras; `use_build_environment` creates .venv-build with the tools of a release. A stamp file records the checksum
# of the inputs, so the installation runs only after they change.

cd "$(dirname "${BASH_SOURCE[0]}")/.."

find_python() {
    local candidate
    for candidate in python3 python3.13 python3.12 python3.11 python; do
        # The shim of a version manager can be on the PATH and still fail, so each candidate is started.
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    echo "error: no Python 3.11 or newer found on the PATH; install one, such as python3.11" >&2
    return 1
}

# Install packages of Debian: as root, or with sudo on a machine of CI. Other machines are left as they are.
install_packages() {
    local run=(env)
    if [ "$(id -u)" != 0 ]; then
        [ -n "${CI:-}" ] || return 1
        run=(sudo -n)
    fi
    command -v apt-get >/dev/null || return 1
    echo "installing $*"
    "${run[@]}" apt-get update -qq &&
        "${run[@]}" apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

# The compiled decoder is optional and makes reads faster. It needs a C compiler and the headers of zstd.
find_compiler() {
    if echo '#include <zstd.h>' | cc -E - >/dev/null 2>&1; then
        return
    fi
    install_packages gcc libc6-dev libzstd-dev && return
    echo "note: found no C compiler with the headers of zstd, so numcodecs decodes chunks, which takes longer;" \
        "on Debian, install them with: apt-get install gcc libc6-dev libzstd-dev"
}

# Some tests read stores with zarrita.js in a browser. Without zarrita.js or a browser, they are skipped with a message.
find_browser() {
    local directory=tests/support/browser packages=()
    if ! { command -v chromium-headless-shell || command -v chromium || command -v chromium-browser ||
        command -v google-chrome; } >/dev/null; then
        packages+=(chromium-headless-shell)
    fi
    command -v npm >/dev/null || packages+=(npm)
    if [ "${#packages[@]}" -gt 0 ]; then
        install_packages "${packages[@]}" || echo "note: ${packages[*]} could not be installed"
    fi
    # npm copies the lock file into node_modules at an installation.
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
        echo "creating .venv with $("$python" --version)"
        rm -rf .venv
        "$python" -m venv .venv || {
            echo "error: the venv module of $python fails; on Debian, install it with: apt-get install python3-venv" >&2
            return 1
        }
    fi
    find_compiler
    echo "installing noether-zarr-store[$extras] into .venv (only once; about a minute)"
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt \
        --editable ".[$extras]"
    echo "$wanted" >"$stamp"
}

# The package itself is not installed there, only the requirements of its extra `build`.
use_build_environment() {
    local environment=.venv-build python requirements wanted
    python=$(find_python)
    requirements=$("$python" -c '
import tomllib
with open("pyproject.toml", "rb") as file:
    print(*tomllib.load(file)["project"]["optional-dependencies"]["build"], sep="\n")
')
    wanted=$(echo "$requirements" | cat - constraints.txt | cksum)
    if [ -x "$environment/bin/python" ] && [ "$(cat "$environment/installed" 2>/dev/null)" = "$wanted" ]; then
        return
    fi
    echo "creating $environment with $("$python" --version)"
    rm -rf "$environment"
    "$python" -m venv "$environment"
    echo "$requirements" >"$environment/requirements.txt"
    "$environment/bin/python" -m pip install --quiet --disable-pip-version-check --constraint constraints.txt \
        --requirement "$environment/requirements.txt"
    echo "$wanted" >"$environment/installed"
}
