# install(): the library, its headers and the CMake package. (Filled in with the house.)
