#!/bin/bash
# Calls that may not stand in src/: they end the process, print, overrun, hide an error or keep hidden state. The
# program's own folder (src/cli) may print. Comments and strings are not looked at. Run from the repository's root.
set -euo pipefail
[ -d src ] || exit 0
bad=0
banned='abort|exit|_exit|strcpy|strcat|sprintf|vsprintf|stpcpy|gets|atoi|atol|atof|rand|srand|random|strtok|alloca|asctime|ctime|gmtime|localtime|setlocale|system|popen|tmpnam|mktemp|signal'
printing='printf|vprintf|puts|putchar|perror|fputs|fprintf|vfprintf'

# Blanks comments, strings and characters, and keeps the lines' numbers.
code_of() {
    awk '
    {
        out = ""
        for (i = 1; i <= length($0); i++) {
            c = substr($0, i, 1)
            two = substr($0, i, 2)
            if (comment) { if (two == "*/") { comment = 0; i++ } }
            else if (quote != "") { if (c == "\\") i++; else if (c == quote) quote = "" }
            else if (two == "/*") { comment = 1; i++; out = out " " }
            else if (two == "//") break
            else if (c == "\"" || c == "\047") { quote = c; out = out " " }
            else out = out c
        }
        quote = ""
        print out
    }' "$1"
}

while IFS= read -r file; do
    words=$banned
    case $file in
    src/cli/*) words=${banned/|_exit/} ;;
    *) words="$banned|$printing" ;;
    esac
    if hits=$(code_of "$file" | grep -nE "(^|[^A-Za-z0-9_.>])($words)[[:space:]]*\("); then
        while IFS=: read -r line text; do
            call=$(grep -oE "(^|[^A-Za-z0-9_.>])($words)[[:space:]]*\(" <<<"$text" | head -n 1 | grep -oE '[a-z_]+')
            echo "$file:$line: $call() is banned in src/"
        done <<<"$hits"
        bad=1
    fi
done < <(find src -name '*.[ch]' | sort)
exit $bad
