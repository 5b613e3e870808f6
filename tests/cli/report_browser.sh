#!/bin/bash
# The report in headless Chromium: its script runs without a complaint, nothing is asked for, and on a wide screen and on a
# phone, light and dark, something is drawn. Skipped where there is no Chromium.
. tests/support/cli.bash
for name in chromium chromium-browser google-chrome; do browser=$(command -v $name) && break; done
[ -n "${browser:-}" ] || { echo "skipped: no Chromium"; exit 77; }
export HOME=$WORK/home
mkdir "$HOME"
page=file://$WORK/run/report.html

# looks ARG...: the browser without a screen, what it says in $WORK/browser
looks() {
    timeout 120 "$browser" --headless --no-sandbox --disable-gpu --disable-dev-shm-usage --hide-scrollbars \
        --user-data-dir="$WORK/profile" --enable-logging=stderr "$@" "$page" >"$WORK/dom" 2>"$WORK/browser"
}

exits 0 fit tests/parity/resnet/hf_basic tests/cli/pictures -o "$WORK/run" --from-scratch --epochs 3 -q
looks --dump-dom || { echo "skipped: this Chromium does not run here"; exit 77; }
holds "the table's heads became buttons" grep -q '<th scope="col"><button type="button">precision</button></th>' "$WORK/dom"
holds "the script ends where it should" grep -q '<div id="tip" hidden' "$WORK/dom"
holds "the console is silent" test "$(grep -c CONSOLE "$WORK/browser")" = 0
for scheme in light dark; do
    dark=()
    [ $scheme = dark ] && dark=(--blink-settings=preferredColorScheme=0)
    for size in 1280,2400 390,2400; do
        looks "${dark[@]}" --window-size=$size --screenshot="$WORK/$scheme-$size.png"
        bytes=$(stat -c %s "$WORK/$scheme-$size.png" 2>/dev/null || echo 0)
        holds "$scheme at $size is drawn" test "$bytes" -gt 20000
    done
done
holds "dark is another picture" test "$(cmp -s "$WORK/light-1280,2400.png" "$WORK/dark-1280,2400.png" && echo same)" = ""
finish
