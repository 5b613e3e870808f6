# run.jsonl → lines "name epoch seconds accuracy": one an evaluated epoch, seconds since training began.
function number(key) {
    if (!match($0, "\"" key "\": *[-0-9.e+]+")) return ""
    return substr($0, RSTART + length(key) + 3, RLENGTH - length(key) - 3) + 0
}
/"event": *"epoch"/ {
    accuracy = number("val_accuracy")
    if (accuracy != "") printf "%s\t%d\t%.4f\t%.4f\n", name, number("epoch"), number("seconds"), accuracy
}
