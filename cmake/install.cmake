# install(): the library, its headers, the command and the CMake package, so that a user writes
#   find_package(bareattn REQUIRED)  target_link_libraries(app PRIVATE bareattn::bareattn)
# tests/consumer/ is such a user and is built in the tests. A new find_package() of the library in CMakeLists.txt needs
# its twin in cmake/bareattnConfig.cmake.in, or the consumer test fails.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

install(TARGETS bareattn EXPORT bareattnTargets
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}
  LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}
  RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR}
  INCLUDES DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(DIRECTORY include/bareattn DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.h")
if(TARGET bareattn_cli)
  install(TARGETS bareattn_cli RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()

set(BAREATTN_PACKAGE_DIR ${CMAKE_INSTALL_LIBDIR}/cmake/bareattn)
install(EXPORT bareattnTargets NAMESPACE bareattn:: DESTINATION ${BAREATTN_PACKAGE_DIR})
configure_package_config_file(cmake/bareattnConfig.cmake.in ${PROJECT_BINARY_DIR}/bareattnConfig.cmake
  INSTALL_DESTINATION ${BAREATTN_PACKAGE_DIR} NO_SET_AND_CHECK_MACRO)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/bareattnConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/bareattnConfig.cmake ${PROJECT_BINARY_DIR}/bareattnConfigVersion.cmake
  DESTINATION ${BAREATTN_PACKAGE_DIR})
