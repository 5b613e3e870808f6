# What stands on a terminal, read from the bytes that were sent to it: return, newline, and of the escape sequences those
# that graft sends: n rows up (A), erase the rest of the row (K) or of the screen (J), colours (m). Rows that are left
# behind are kept, so what was scrolled away is told too. With after=TEXT it stops once a row begins so: a look at the
# screen while it runs.
BEGIN { RS = "\n"; row = 0; column = 0; last = 0 }
function put(c,    have) {
    have = length(screen[row])
    if (have < column) screen[row] = screen[row] sprintf("%*s", column - have, "")
    screen[row] = substr(screen[row], 1, column) c substr(screen[row], column + 2)
    column++
}
function sequence(n, kind,    i) {
    if (kind == "A") row = row > n ? row - n : 0
    if (kind == "K" || kind == "J") screen[row] = substr(screen[row], 1, column)
    if (kind == "J") for (i = row + 1; i <= last; i++) screen[i] = ""
}
function show(    i) {
    for (i = 0; i <= last; i++) print screen[i]
    shown = 1
    exit
}
{
    size = length($0)
    for (at = 1; at <= size; at++) {
        c = substr($0, at, 1)
        if (c == "\r") {
            if (after != "" && index(screen[row], after) == 1) show()
            column = 0
        } else if (c == "\033") {
            rest = substr($0, at + 2)
            match(rest, /^[0-9;]*/)
            sequence(substr(rest, 1, RLENGTH) + 0, substr(rest, RLENGTH + 1, 1))
            at += 2 + RLENGTH
        } else {
            put(c)
        }
    }
    row++
    column = 0
    if (row > last) last = row
}
END { if (!shown) show() }
