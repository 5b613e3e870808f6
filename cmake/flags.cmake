# Warnings, floating point, sanitizers, and the instruction sets of graft's own kernels.

add_compile_definitions(_GNU_SOURCE)
add_compile_options(-Wall -Wextra -Wconversion -Wshadow -Werror)
# Fields that an initialiser leaves out are zero, and zero means the default.
add_compile_options(-Wno-missing-field-initializers)
if(CMAKE_C_COMPILER_ID STREQUAL "GNU")
  # gcc cannot know that a failing function's code is negative and reports what is not set then; the sanitizer builds
  # fill variables with a pattern, so that a value truly never set shows in the tests.
  add_compile_options(-Wno-maybe-uninitialized)
else()
  # clang says so when a loop that asks for vectors got none, as in every build without optimisation.
  add_compile_options(-Wno-pass-failed)
endif()

# No errno from sqrt and no trap on division let loops vectorise; nothing that changes a result is allowed, and
# contraction is off so that gcc and clang round alike.
add_compile_options(-fno-math-errno -fno-trapping-math -ffp-contract=off)

if(GRAFT_SANITIZE)
  add_compile_options(-fsanitize=${GRAFT_SANITIZE} -fno-omit-frame-pointer -ftrivial-auto-var-init=pattern)
  add_link_options(-fsanitize=${GRAFT_SANITIZE})
  if(GRAFT_SANITIZE MATCHES "undefined")
    add_compile_options(-fno-sanitize-recover=undefined)
  endif()
endif()
if(GRAFT_COVERAGE)
  add_compile_options(--coverage -fprofile-update=atomic)
  add_link_options(--coverage)
endif()
if(GRAFT_BUILD_FUZZERS)
  if(NOT CMAKE_C_COMPILER_ID MATCHES "Clang")
    message(FATAL_ERROR "GRAFT_BUILD_FUZZERS needs clang: set CMAKE_C_COMPILER=clang, or use the preset 'fuzz'")
  endif()
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()

# A file named <kernel>_avx2.c, _avx512.c, _avx512bf16.c or _amx.c is compiled for that instruction set, and called only
# where the processor has it. Elsewhere than on x86-64 those files are left out.
function(graft_set_kernel_flags sources)
  set(avx2 -mavx2 -mfma -mf16c)
  set(avx512 ${avx2} -mavx512f -mavx512bw -mavx512vl -mavx512dq -mprefer-vector-width=512)
  set(avx512bf16 ${avx512} -mavx512bf16)
  set(amx ${avx512bf16} -mamx-tile -mamx-bf16)
  set(kept)
  foreach(source ${${sources}})
    if(source MATCHES "_(avx2|avx512|avx512bf16|amx)\\.c$")
      set(isa ${CMAKE_MATCH_1})
      if(NOT CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64|amd64)$")
        continue()
      endif()
      set_source_files_properties(${source} PROPERTIES COMPILE_OPTIONS "${${isa}}")
    endif()
    list(APPEND kept ${source})
  endforeach()
  set(${sources} ${kept} PARENT_SCOPE)
endfunction()
