# The libraries graft stands on, gathered in the interface target graft_libraries.

find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
foreach(module jansson zlib libzip libxxhash libjpeg spng libwebp libutf8proc libpcre2-8 sqlite3)
  string(TOUPPER ${module} variable)
  pkg_check_modules(${variable} REQUIRED IMPORTED_TARGET ${module})
endforeach()
add_library(graft_libraries INTERFACE)
target_link_libraries(graft_libraries INTERFACE PkgConfig::JANSSON PkgConfig::ZLIB PkgConfig::LIBZIP PkgConfig::LIBXXHASH
  PkgConfig::LIBJPEG PkgConfig::SPNG PkgConfig::LIBWEBP PkgConfig::LIBUTF8PROC PkgConfig::LIBPCRE2-8 PkgConfig::SQLITE3 Threads::Threads m)

# OpenBLAS, the linear algebra of transfer/advise, is loaded when it is needed: nothing is linked, and a machine
# without it runs everything else.
target_link_libraries(graft_libraries INTERFACE ${CMAKE_DL_LIBS})

find_package(OpenMP REQUIRED COMPONENTS C)
if(GRAFT_SANITIZE MATCHES "thread")
  # The thread sanitizer does not see libgomp's barriers and would report every parallel region: graft's own
  # regions run on one thread here, and the loader's and the runtime's threads are what is watched.
  target_compile_options(graft_libraries INTERFACE -Wno-unknown-pragmas)
  target_link_libraries(graft_libraries INTERFACE ${OpenMP_C_LIBRARIES})
else()
  target_link_libraries(graft_libraries INTERFACE OpenMP::OpenMP_C)
endif()

# oneDNN: what GRAFT_ONEDNN names, else .deps/onednn (scripts/setup.sh puts it there), else the system's.
if(DEFINED ENV{GRAFT_ONEDNN})
  set(onednn_default "$ENV{GRAFT_ONEDNN}")
else()
  set(onednn_default "${CMAKE_SOURCE_DIR}/.deps/onednn")
endif()
set(GRAFT_ONEDNN "${onednn_default}" CACHE PATH "prefix of oneDNN >= 3.2")
find_path(DNNL_INCLUDE oneapi/dnnl/dnnl_version.h HINTS "${GRAFT_ONEDNN}/include")
find_library(DNNL_LIBRARY dnnl HINTS "${GRAFT_ONEDNN}/lib" "${GRAFT_ONEDNN}/${CMAKE_INSTALL_LIBDIR}")
if(NOT DNNL_INCLUDE OR NOT DNNL_LIBRARY)
  message(FATAL_ERROR "oneDNN >= 3.2 not found in ${GRAFT_ONEDNN} nor in the system: run scripts/setup.sh, or set "
    "GRAFT_ONEDNN to its prefix")
endif()
file(STRINGS "${DNNL_INCLUDE}/oneapi/dnnl/dnnl_version.h" onednn_version REGEX "define DNNL_VERSION_(MAJOR|MINOR|PATCH)")
string(REGEX MATCHALL "[0-9]+" onednn_version "${onednn_version}")
list(JOIN onednn_version "." onednn_version)
if(onednn_version VERSION_LESS 3.2 OR onednn_version VERSION_GREATER_EQUAL 4)
  message(FATAL_ERROR "oneDNN ${onednn_version} in ${DNNL_INCLUDE} does not do: graft needs 3.2 or newer of the 3 "
    "series; run scripts/setup.sh, or set GRAFT_ONEDNN to another prefix")
endif()
add_library(dnnl SHARED IMPORTED)
set_target_properties(dnnl PROPERTIES IMPORTED_LOCATION "${DNNL_LIBRARY}"
  INTERFACE_INCLUDE_DIRECTORIES "${DNNL_INCLUDE}")
target_link_libraries(graft_libraries INTERFACE dnnl)
