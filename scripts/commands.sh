# Sourced: the commands of README.md between two headings, as a reader would copy them.
commands() {
    awk -v from="$1" -v to="$2" '
        index($0, from) == 1 { on = 1 }
        index($0, to) == 1 { on = 0 }
        /^```sh$/ { inside = on; next }
        /^```$/ { inside = 0 }
        inside' README.md
}
