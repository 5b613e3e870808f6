# curves.tsv → an SVG of two panels: accuracy against epochs, and against seconds.
BEGIN {
    colour["scratch"] = "#d1495b"; colour["head"] = "#edae49"; colour["full"] = "#00798c"
    words["scratch"] = "from scratch"; words["head"] = "pretrained, head only"; words["full"] = "pretrained, all layers"
    W = 380; H = 230; top = 46; left = 52; gap = 66
}
{
    n++; name[n] = $1; e[n] = $2; s[n] = $3; y[n] = $4
    if ($2 > most_e) most_e = $2
    if ($3 > most_s) most_s = $3
    if (!($1 in seen)) { seen[$1] = 1; order[++k] = $1 }
}
END {
    total = left + 2 * W + gap + 20
    printf "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" font-family=\"sans-serif\" font-size=\"12\">\n", total, top + H + 70
    print "<style>text{fill:#24292f}.axis{stroke:#24292f;fill:none}.grid{stroke:#24292f;opacity:.15}.curve{fill:none;stroke-width:2.2;stroke-linejoin:round}"
    print "@media(prefers-color-scheme:dark){text{fill:#e6edf3}.axis,.grid{stroke:#e6edf3}}</style>"
    printf "<text x=\"%d\" y=\"20\" font-size=\"14\">Handwritten digits, ten labelled pictures a class: validation accuracy</text>\n", left
    panel(left, most_e, "epochs", 1)
    panel(left + W + gap, most_s, "seconds", 0)
    at = left
    for (i = 1; i <= k; i++) {
        printf "<line x1=\"%d\" y1=\"%d\" x2=\"%d\" y2=\"%d\" class=\"curve\" stroke=\"%s\"/><text x=\"%d\" y=\"%d\">%s</text>\n", at, top + H + 52, at + 26, top + H + 52, colour[order[i]], at + 32, top + H + 56, words[order[i]]
        at += 60 + 7 * length(words[order[i]])
    }
    print "</svg>"
}
function panel(x0, most, label, by_epoch,   i, j, v, p, digits) {
    if (most == 0) most = 1
    for (v = 0; v <= 100; v += 20) {
        p = top + H * (1 - v / 100)
        printf "<line x1=\"%d\" y1=\"%.1f\" x2=\"%d\" y2=\"%.1f\" class=\"grid\"/><text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%d %%</text>\n", x0, p, x0 + W, p, x0 - 6, p + 4, v
    }
    for (i = 0; i <= 3; i++) {
        digits = by_epoch ? 0 : (most < 3 ? 2 : 1)
        printf "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%.*f</text>\n", x0 + W * i / 3, top + H + 18, digits, most * i / 3
    }
    printf "<path d=\"M%d %dV%dH%d\" class=\"axis\"/><text x=\"%d\" y=\"%d\" text-anchor=\"middle\">%s</text>\n", x0, top, top + H, x0 + W, x0 + W / 2, top + H + 34, label
    for (i = 1; i <= k; i++) {
        printf "<polyline class=\"curve\" stroke=\"%s\" points=\"", colour[order[i]]
        for (j = 1; j <= n; j++) if (name[j] == order[i])
            printf "%.1f,%.1f ", x0 + W * (by_epoch ? e[j] : s[j]) / most, top + H * (1 - y[j])
        print "\"/>"
    }
}
