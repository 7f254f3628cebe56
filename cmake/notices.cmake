# The notices of what is compiled in and the bill of materials (tools/sbom.py), made by the build and installed: with the
# library under share/doc/bareattn, in the Python wheel beside its metadata. Called before the targets that install.
find_package(Python3 REQUIRED COMPONENTS Interpreter)
set(BAREATTN_NOTICES ${PROJECT_BINARY_DIR}/notices/THIRD_PARTY_NOTICES.txt ${PROJECT_BINARY_DIR}/notices/bareattn.cdx.json)
foreach(library libhwy fmt simdjson)
  pkg_check_modules(BAREATTN_${library} QUIET ${library})
endforeach()
set(inside
  "Highway=${BAREATTN_libhwy_VERSION}=Apache-2.0" "fmt=${BAREATTN_fmt_VERSION}=MIT" "simdjson=${BAREATTN_simdjson_VERSION}=Apache-2.0"
  "zlib=${ZLIB_VERSION_STRING}=Zlib" "OpenSSL=${OPENSSL_VERSION}=Apache-2.0" "PCRE2=${PCRE2_VERSION}=BSD-3-Clause"
  "utf8proc=${UTF8PROC_VERSION}=MIT"
  "Boost=${Boost_VERSION_STRING}=BSL-1.0")
find_file(BAREATTN_JSON_LICENCE copyright PATHS /usr/share/doc/nlohmann-json3-dev /usr/share/licenses/nlohmann-json NO_DEFAULT_PATH)
list(APPEND inside "nlohmann-json=${nlohmann_json_VERSION}=MIT=$<$<BOOL:${BAREATTN_JSON_LICENCE}>:${BAREATTN_JSON_LICENCE}>")
if(BAREATTN_PYTHON)
  execute_process(COMMAND ${Python3_EXECUTABLE} -c "import importlib.metadata as m; d = m.distribution('nanobind'); print(d.version, next((str(f.locate()) for f in d.files if f.name.startswith('LICENSE')), ''), sep='=BSD-3-Clause=', end='')"
                  OUTPUT_VARIABLE nanobind_is)
  list(APPEND inside "nanobind=${nanobind_is}")
endif()
list(TRANSFORM inside PREPEND "--component=")
if(BAREATTN_PAGE AND (NOT BAREATTN_FROM OR EXISTS ${BAREATTN_FROM}/page/dist/page.js))
  list(APPEND inside --viewer ${PROJECT_SOURCE_DIR}/viewer)
endif()
add_custom_command(OUTPUT ${BAREATTN_NOTICES}
  COMMAND ${Python3_EXECUTABLE} ${PROJECT_SOURCE_DIR}/tools/sbom.py --out ${PROJECT_BINARY_DIR}/notices --version ${PROJECT_VERSION} ${inside}
  DEPENDS ${PROJECT_SOURCE_DIR}/tools/sbom.py ${PROJECT_SOURCE_DIR}/viewer/package-lock.json ${BAREATTN_PAGE_SOURCE}
          $<$<BOOL:${BAREATTN_PAGE_DIST}>:${BAREATTN_PAGE_DIST}/page.js>
  COMMENT "Writing the notices and the bill of materials" VERBATIM)
add_custom_target(bareattn_notices ALL DEPENDS ${BAREATTN_NOTICES})
if(NOT BAREATTN_FROM)
  add_dependencies(bareattn bareattn_notices)  # whoever has built the library can install it
endif()
install(FILES ${PROJECT_SOURCE_DIR}/LICENSE ${BAREATTN_NOTICES} DESTINATION share/doc/bareattn)
if(SKBUILD)
  install(FILES ${PROJECT_BINARY_DIR}/notices/THIRD_PARTY_NOTICES.txt DESTINATION ${SKBUILD_METADATA_DIR}/licenses COMPONENT python)
  install(FILES ${PROJECT_BINARY_DIR}/notices/bareattn.cdx.json DESTINATION ${SKBUILD_METADATA_DIR}/sboms COMPONENT python)
endif()
