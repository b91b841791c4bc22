# Sourced: the commands of a Markdown file between two headings, as a reader would copy them.
commands() {
    awk -v from="$2" -v to="$3" '
        index($0, from) == 1 { on = 1 }
        index($0, to) == 1 { on = 0 }
        /^```sh$/ { inside = on; next }
        /^```$/ { inside = 0 }
        inside' "$1"
}
