# Packages from Debian's archive without touching the machine's own apt: lists, cache and sources in a folder that the
# caller removes, and nothing believed without a signature of Debian's archive key. Sourced, never run.
# shellcheck shell=bash

KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg
# What a script ends with that cannot get what it needs.
UNAVAILABLE=3

# Where the machine itself gets Debian from, in either format of sources.
own_mirror() {
    local files=(/etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources)
    { cat "${files[@]}" 2>/dev/null || true; } |
        sed -nE 's/^(URIs:|deb( \[[^]]*\])?) +(https?:[^ ]+\/debian)\/?( .*)?$/\3/p' | head -n 1
}

# archive SUITE FOLDER: gets the lists of a suite; `APT` says then how to ask for its packages, `MIRROR` where it is.
archive() {
    local suite=$1 folder=$2
    MIRROR=${MIRROR:-$(own_mirror)}
    [[ -n $MIRROR ]] || unavailable "this machine's apt sources name no Debian archive"
    [[ -e $KEYRING ]] || unavailable "$KEYRING is missing (apt-get install debian-archive-keyring)"
    mkdir -p "$folder/lists/partial" "$folder/cache/archives/partial"
    printf 'deb [arch=amd64 signed-by=%s] %s %s main\n' "$KEYRING" "$MIRROR" "$suite" >"$folder/sources"
    APT=(-qq -o "Dir::Etc::SourceList=$folder/sources" -o Dir::Etc::SourceParts=/dev/null
        -o "Dir::State::Lists=$folder/lists" -o "Dir::Cache=$folder/cache" -o APT::Sandbox::User=root
        -o Acquire::Languages=none -o Acquire::Retries=2 -o APT::Update::Error-Mode=any)
    quietly apt-get "${APT[@]}" update || unavailable "apt-get update failed for $MIRROR, suite $suite"
}

# unpack SUITE FOLDER PACKAGE...: gets packages of a suite that `archive` knows, and unpacks them below FOLDER/tree.
# False if there are none such.
unpack() {
    local suite=$1 folder=$2 package
    shift 2
    for package in "$@"; do offers "$package" || return 1; done
    (cd "$folder" && quietly apt-get "${APT[@]}" download "${@/%//$suite}") || return 1
    for package in "$folder"/*.deb; do dpkg-deb --extract "$package" "$folder/tree"; done
    rm -f "$folder"/*.deb
}

# Whether there is a package of this very name: asked for others, apt takes the name for a pattern.
offers() { [[ $'\n'$(apt-cache "${APT[@]}" pkgnames "$1")$'\n' == *$'\n'"$1"$'\n'* ]]; }

quietly() {
    local said
    said=$("$@" 2>&1 </dev/null) && return
    say "$said"
    return 1
}

# unavailable WHY: ends the script. HELP_WITH says what would help.
unavailable() {
    die "$1.
${HELP_WITH:-}" "$UNAVAILABLE"
}
