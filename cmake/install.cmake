# A tree that can be moved: every path in it is relative to the file that holds it.
#   bin/graft  lib/libgraft.so*  lib/graft/libdnnl.so.3  include/graft.h  lib/pkgconfig/graft.pc  share/{doc/graft,man}

if(targets_to_install)
  install(TARGETS ${targets_to_install})
endif()
install(FILES include/graft.h TYPE INCLUDE)
install(FILES "${CMAKE_BINARY_DIR}/graft.1" DESTINATION "${CMAKE_INSTALL_MANDIR}/man1" OPTIONAL)
install(FILES LICENSE CHANGELOG.md TYPE DOC)

file(RELATIVE_PATH GRAFT_PC_PREFIX "/${CMAKE_INSTALL_LIBDIR}/pkgconfig" "/")
configure_file(packaging/graft.pc.in graft.pc @ONLY)
install(FILES "${CMAKE_BINARY_DIR}/graft.pc" DESTINATION "${CMAKE_INSTALL_LIBDIR}/pkgconfig")

# A oneDNN of the system stays the system's; any other is carried along under its SONAME, without its symbol table.
if(NOT DNNL_LIBRARY MATCHES "^/(usr|lib|usr/local)/lib")
  set(onednn_home "${CMAKE_INSTALL_LIBDIR}/graft")
  file(REAL_PATH "${DNNL_LIBRARY}" onednn_file)
  install(PROGRAMS "${onednn_file}" DESTINATION "${onednn_home}" RENAME libdnnl.so.3)
  install(CODE "
    execute_process(COMMAND \"${CMAKE_STRIP}\" --strip-unneeded
      \"\$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}/${onednn_home}/libdnnl.so.3\" COMMAND_ERROR_IS_FATAL ANY)")
  foreach(notice LICENSE THIRD-PARTY-PROGRAMS)
    install(FILES "${GRAFT_ONEDNN}/share/doc/onednn/${notice}" DESTINATION "${CMAKE_INSTALL_DOCDIR}/onednn" OPTIONAL)
  endforeach()
endif()
