# The page: viewer/ (TypeScript) is bundled at build time and embedded in the library with .incbin. Node.js is needed
# only here, never at run time. -DBAREATTN_PAGE=OFF builds without it; render_page then says how to get the page.
# AUTO (the Python module): with the page where Node.js and npm are there, without it where they are not.
if(BAREATTN_PAGE STREQUAL "AUTO")
  find_program(BAREATTN_NODE NAMES node nodejs)
  find_program(BAREATTN_NPM NAMES npm)
  if(BAREATTN_NODE AND BAREATTN_NPM)
    set(BAREATTN_PAGE ON)
  else()
    message(STATUS "No Node.js and npm: building without the page (bareattn.show() will say so)")
    set(BAREATTN_PAGE OFF)
  endif()
endif()
set(BAREATTN_PAGE_SOURCE ${PROJECT_BINARY_DIR}/page/page_assets.cc)
if(BAREATTN_PAGE)
  find_program(BAREATTN_NODE NAMES node nodejs)
  find_program(BAREATTN_NPM NAMES npm)
  if(NOT BAREATTN_NODE OR NOT BAREATTN_NPM)
    message(FATAL_ERROR "The page needs Node.js 20 and npm at build time (Debian: apt-get install nodejs npm). "
                        "To build without the page: -DBAREATTN_PAGE=OFF")
  endif()
  set(viewer ${PROJECT_SOURCE_DIR}/viewer)
  set(BAREATTN_PAGE_DIST ${PROJECT_BINARY_DIR}/page/dist)
  file(GLOB_RECURSE viewer_sources CONFIGURE_DEPENDS ${viewer}/src/*.ts ${viewer}/src/*.tsx ${viewer}/src/*.css)
  add_custom_command(
    OUTPUT ${viewer}/node_modules/.package-lock.json
    COMMAND ${BAREATTN_NPM} ci --no-audit --no-fund --loglevel=error
    DEPENDS ${viewer}/package-lock.json
    WORKING_DIRECTORY ${viewer} COMMENT "Installing what the page is built with (npm ci)" VERBATIM)
  add_custom_command(
    OUTPUT ${BAREATTN_PAGE_DIST}/page.js ${BAREATTN_PAGE_DIST}/page.css
    COMMAND ${BAREATTN_NODE} build.mjs ${BAREATTN_PAGE_DIST}
    DEPENDS ${viewer_sources} ${viewer}/build.mjs ${viewer}/package.json ${viewer}/tsconfig.json
            ${viewer}/node_modules/.package-lock.json
    WORKING_DIRECTORY ${viewer} COMMENT "Bundling the page" VERBATIM)
  configure_file(cmake/page_assets.cc.in ${BAREATTN_PAGE_SOURCE} @ONLY)
  set_source_files_properties(${BAREATTN_PAGE_SOURCE} PROPERTIES OBJECT_DEPENDS
                              "${BAREATTN_PAGE_DIST}/page.js;${BAREATTN_PAGE_DIST}/page.css")
else()
  configure_file(cmake/page_assets_none.cc.in ${BAREATTN_PAGE_SOURCE} COPYONLY)
endif()
target_sources(bareattn PRIVATE ${BAREATTN_PAGE_SOURCE})
