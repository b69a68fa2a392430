# What every script in tools/ shares: where the project is, where cargo is, and how they speak. Sourced, never run.
# shellcheck shell=bash

# shellcheck disable=SC2034
PROJECT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

if [[ -t 2 && -z ${NO_COLOR:-} ]]; then
    RED=$'\e[31m' GREEN=$'\e[32m' BOLD=$'\e[1m' DIM=$'\e[2m' PLAIN=$'\e[0m'
else
    RED='' GREEN='' BOLD='' DIM='' PLAIN=''
fi

say() { printf '%s\n' "$*" >&2; }
title() { printf '%s==> %s%s\n' "$BOLD" "$*" "$PLAIN" >&2; }
good() { printf '%s%s%s\n' "$GREEN" "$*" "$PLAIN" >&2; }
faint() { printf '%s%s%s\n' "$DIM" "$*" "$PLAIN" >&2; }
warn() { printf '%s%s%s\n' "$RED" "$*" "$PLAIN" >&2; }

# die MESSAGE [STATUS]: ends the script. The message names the thing, the value and the next step.
die() {
    warn "${0##*/}: $1"
    exit "${2:-1}"
}

# whole_number WHAT VALUE LEAST MOST: ends the script unless the value of an option is one of these. No leading zeros:
# to bash they are octal.
whole_number() {
    [[ $2 =~ ^(0|[1-9][0-9]{0,17})$ ]] && (($2 >= $3 && $2 <= $4)) && return
    die "$1 '$2': a whole number from $3 to $4, please (tools/${0##*/} --help)" 2
}

# seconds SINCE: whole seconds since an earlier value of EPOCHREALTIME, with one decimal.
seconds() {
    local us=$((${EPOCHREALTIME/[.,]/} - ${1/[.,]/}))
    printf '%d.%d' $((us / 1000000)) $((us % 1000000 / 100000))
}

# Rust is looked for where rustup puts it, because a shell that was open before it was installed has the old PATH. Under
# sudo the caller's own toolchain is used rather than a second one.
find_cargo() {
    local caller=''
    [[ -d ${CARGO_HOME:-$HOME/.cargo}/bin ]] && PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"
    if [[ -n ${SUDO_USER:-} ]] && ! command -v cargo >/dev/null; then
        caller=$(getent passwd "$SUDO_USER" | cut -d: -f6)
        if [[ -x $caller/.cargo/bin/cargo ]]; then
            PATH="$caller/.cargo/bin:$PATH"
            export RUSTUP_HOME="${RUSTUP_HOME:-$caller/.rustup}"
        fi
    fi
    export PATH
}
