# curves.tsv → accuracy from 60 % against epochs or seconds (axis), drawn with characters.
BEGIN {
    width = 64; height = 16; low = 0.6; split("full head scratch", order, " ")
    mark["scratch"] = "s"; mark["head"] = "h"; mark["full"] = "F"
    words["scratch"] = "from scratch"; words["head"] = "pretrained, head only"; words["full"] = "pretrained, all layers"
}
{ n++; name[n] = $1; x[n] = axis == "epochs" ? $2 : $3; y[n] = $4; if (x[n] > most) most = x[n]; seen[$1] = 1 }
END {
    if (most == 0) exit
    for (i = 1; i <= n; i++) {
        column = int(x[i] / most * width + 0.5)
        row = int((y[i] - low) / (1 - low) * height + 0.5)
        # A curve goes on as a line from its last point to this one.
        if (name[i] == name[i - 1]) {
            steps = column - before
            for (c = before + 1; c < column; c++) plot(c, int(last + (row - last) * (c - before) / steps + 0.5), name[i])
        }
        plot(column, row, name[i])
        before = column; last = row
    }
    printf "\nvalidation accuracy against %s\n", axis
    for (r = height; r >= 0; r--) {
        line = ""
        for (c = 0; c <= width; c++) line = line (((r, c) in grid) ? grid[r, c] : " ")
        sub(/ +$/, "", line)
        printf "%5s |%s\n", (r % 8 == 0) ? sprintf("%d %%", 100 * (low + (1 - low) * r / height) + 0.5) : "", line
    }
    line = sprintf("%" width + 1 "s", ""); gsub(/ /, "-", line)
    printf "      +%s\n%8s%" (width - 1) "s %s\n", line, "0", axis == "epochs" ? most : sprintf("%.2f", most), axis
    for (i = 1; i in order; i++) if (order[i] in seen) legend = legend sprintf("   %s %s", mark[order[i]], words[order[i]])
    print "     " legend
}
function plot(c, r, k) { if (r >= 0) grid[r, c] = mark[k] }
