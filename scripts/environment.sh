# What quickstart and test both need: a Python that will do, and a virtual environment of it. POSIX shell, sourced.
# shellcheck shell=sh

complain() {
    printf '%s: %s\n' "${0##*/}" "$1" >&2
}

# Whether "$1" is a Python 3.11 or newer that this user can start.
is_suitable() {
    command -v "$1" >/dev/null 2>&1 &&
        "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

# Whether "$1" can make virtual environments with pip in them.
is_complete() {
    "$1" -c 'import ensurepip, venv' >/dev/null 2>&1
}

# Prints the first of "$@" that is suitable and complete, else the first that is suitable.
first_python() {
    for candidate in "$@"; do
        if is_suitable "$candidate" && is_complete "$candidate"; then
            command -v "$candidate"
            return
        fi
    done
    for candidate in "$@"; do
        if is_suitable "$candidate"; then
            command -v "$candidate"
            return
        fi
    done
    return 1
}

# Sets $python to the best of "$@". As root on a Debian-like machine, what is missing is installed.
choose_python() {
    if python=$(first_python ${PYTHON:-"$@"}) && is_complete "$python"; then
        return
    fi
    if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null 2>&1; then
        apt-get -qq update && {
            apt-get -qq install -y --no-install-recommends python3 python3-venv
            is_suitable /usr/bin/python3 || apt-get -qq install -y --no-install-recommends python3.11 python3.11-venv
        } >/dev/null
        python=$(first_python ${PYTHON:-"$@"} /usr/bin/python3 python3.11) || true
    fi
    if [ -z "$python" ]; then
        complain 'sampan needs Python 3.11 or newer, and there is none here (set PYTHON to say where it is)'
        exit 1
    fi
}

# Sets $venv to a place for an environment named "$1": in the checkout where that can be, else among the user's caches,
# else in a directory for this once, which $throwaway names and an EXIT trap removes.
choose_place() {
    throwaway=
    venv=$checkout/$1
    if [ -w "$checkout" ] && { [ ! -e "$venv" ] || [ -w "$venv" ]; }; then
        return
    fi
    cache=${XDG_CACHE_HOME:-${HOME:-/nonexistent}/.cache}/sampan
    if ! mkdir -p "$cache" 2>/dev/null || [ ! -w "$cache" ]; then
        cache=$(mktemp -d)
        throwaway=$cache
        trap 'rm -rf "$throwaway"' EXIT
    fi
    venv=$cache/$1
}

# Makes a virtual environment of $python in $1, unless a working one is there, and sets $pip to the command for it.
make_venv() {
    if ! "$1/bin/python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
        rm -rf "$1"
        if is_complete "$python"; then
            "$python" -m venv "$1"
        else
            "$python" -m venv --without-pip "$1"
        fi
    fi
    if "$1/bin/python" -c 'import pip' >/dev/null 2>&1; then
        pip="$1/bin/python -m pip"
    elif "$python" -m pip --python "$1/bin/python" --version >/dev/null 2>&1; then
        pip="$python -m pip --python $1/bin/python"
    else
        complain "$python cannot make virtual environments with pip: install the package python3-venv"
        exit 1
    fi
}
