# Installs the build BUILD into OUT/prefix, builds the user's project in SOURCE against that alone, and runs it.
# cmake -DBUILD=... -DSOURCE=... -DOUT=... -DCXX=... -P run.cmake
file(REMOVE_RECURSE ${OUT})
function(step)
  execute_process(COMMAND ${ARGN} RESULT_VARIABLE status OUTPUT_VARIABLE output ERROR_VARIABLE output)
  if(NOT status EQUAL 0)
    message(FATAL_ERROR "${ARGN}\n${output}\nfailed: ${status}")
  endif()
  set(output "${output}" PARENT_SCOPE)
endfunction()

step(${CMAKE_COMMAND} --install ${BUILD} --prefix ${OUT}/prefix)
step(${CMAKE_COMMAND} -S ${SOURCE} -B ${OUT}/build -DCMAKE_PREFIX_PATH=${OUT}/prefix -DCMAKE_CXX_COMPILER=${CXX}
     -DCMAKE_BUILD_TYPE=Release -DCMAKE_CXX_FLAGS=${FLAGS} -DCMAKE_EXE_LINKER_FLAGS=${FLAGS}
     -DCMAKE_FIND_USE_PACKAGE_REGISTRY=OFF)
step(${CMAKE_COMMAND} --build ${OUT}/build)
step(${OUT}/build/consumer ${MODEL})
message("${output}")
if(NOT output MATCHES "bareattn found and linked")
  message(FATAL_ERROR "the consumer ran and did not say what it must say")
endif()

# The headers must not lead back into the source tree, or the package only works on this machine.
file(GLOB package ${OUT}/prefix/lib*/cmake/bareattn/*.cmake ${OUT}/prefix/lib*/*/cmake/bareattn/*.cmake)
if(NOT package)
  message(FATAL_ERROR "no CMake package under ${OUT}/prefix")
endif()
get_filename_component(root ${SOURCE}/../.. ABSOLUTE)
foreach(file ${package})
  file(READ ${file} text)
  string(REPLACE "${OUT}" "" text "${text}")
  string(FIND "${text}" "${root}/" place)
  if(NOT place EQUAL -1)
    message(FATAL_ERROR "${file} names the source tree ${root}")
  endif()
endforeach()
