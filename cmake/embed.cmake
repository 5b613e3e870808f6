# cmake -DOUT=<file.c> -DFOLDER=<src/report> -P embed.cmake: the page's style and script as constant arrays of bytes,
# each ended by a NUL that its size does not count.
set(text "/* Made by cmake/embed.cmake. */\n#include \"report/assets.h\"\n")
foreach(kind css js)
  file(READ "${FOLDER}/report.${kind}" hex HEX)
  string(LENGTH "${hex}" digits)
  math(EXPR size "${digits} / 2")
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${hex}")
  string(APPEND text
    "const unsigned char graft_report_${kind}[] = {${bytes}0};\nconst size_t graft_report_${kind}_size = ${size};\n")
endforeach()
file(WRITE "${OUT}" "${text}")
