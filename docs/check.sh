#!/bin/sh
# Checks that every file and every test which the documentation names is there.
#
# In backticks, `a/b/c.rs`, `a/b.sh` or `a/b/` is a path from the top or from crates/;
# `path.rs::name` is also a function in it. Names of files that only exist
# where Coracle runs (`config.json`) have no slash, or start with one, and are left alone.
set -eu
cd "$(dirname "$0")/.."
bad=0
for page in README.md ARCHITECTURE.md CONTRIBUTING.md SPECIFICATION.md; do
    for word in $(grep -o '`[a-zA-Z0-9_./:-]*`' "$page" | tr -d '`' | sort -u); do
        path=${word%%::*}
        case $path in
        /* | *://*) continue ;;
        */*.rs | */*.toml | */*.sh | */*.py) ;;
        crates/* | tests/* | fixtures/* | bench/* | fuzz/* | docs/* | kernel/* | scripts/*) ;;
        *) continue ;;
        esac
        if [ -e "$path" ]; then
            file=$path
        elif [ -e "crates/$path" ]; then
            file=crates/$path
        else
            echo "$page names $path, which is not there" >&2
            bad=1
            continue
        fi
        case $word in
        *::*)
            name=${word##*::}
            grep -qE "(fn|struct|enum|trait|const|type) $name\b" "$file" || {
                echo "$page names $word, but $file has no $name" >&2
                bad=1
            }
            ;;
        esac
    done
done
exit $bad
